"""`lmkit plan`: what a spec will cost, said before anything is built."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.models.count import count, flops_per_token
from lmkit.models.spec import EncoderDecoder
from lmkit.run.body import body_of, with_body
from lmkit.run.code import run_code
from lmkit.run.console import Console
from lmkit.spec_file.custom import layers_of
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.count import count_head, head_flops_per_token
from lmkit.tasks.span_corruption import counts
from lmkit.tasks.spec import AnyTask, Labelled, PrefixLm, Seq2seq, SpanCorruption
from lmkit.text.spec import Sized

PART = re.compile(r"heads\.([^.]+)\.([^.]+)|(?:(?:encoder|decoder)\.)?(?:layers\.\d+|[^.]+)")
LAYER = re.compile(r"(?:^|\.)layers\.\d+$")


def plan(spec: Path, *, overrides: Sequence[str], as_json: bool, console: Console, allow_code: bool = False) -> int:
    """Prints parameters by block, arithmetic for a token and the length of the run.

    What custom parts have, only their code knows: it is counted with `allow_code`.
    """
    loaded = load(spec, overrides)
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    with loaded.placing():
        resolved = with_body(loaded.spec)
    vocab = vocab_size_of(resolved, console)
    shapes = _shapes(resolved, vocab, console) if allow_code and layers_of(resolved) else None
    facts = facts_of(resolved, vocab, shapes)
    for line in [json.dumps(facts, indent=1)] if as_json else lines(facts):
        console.out(line)
    return 0


def vocab_size_of(spec: RunSpec, console: Console) -> int:
    """Rows of the token embedding: declared, or those of the tokenizer, which the data may have to be read for."""
    if isinstance(spec.tokenizer, Sized):
        return spec.tokenizer.vocab_size
    from lmkit.run.material import tokenizer_of

    return tokenizer_of(spec, say=console.err, stop=lambda: False).vocab_size


def _shapes(spec: RunSpec, vocab: int, console: Console) -> Mapping[str, Sequence[int]]:
    with console.quiet():
        from lmkit.run.model import shapes_of
    run_code(spec)
    return shapes_of(spec, vocab_size=vocab, labels={name: ["?"] * _labels(task) for name, task in spec.tasks.items()})


def facts_of(spec: RunSpec, vocab: int, shapes: Mapping[str, Sequence[int]] | None = None) -> dict[str, Any]:
    """Parameters, floating-point operations and steps of a resolved spec, as data; what needs the data is None.

    Counted from the words, or from the `shapes` of all variables, which a spec with custom parts needs.
    """
    body, length = body_of(spec), spec.data.max_length
    parts = count(body, vocab_size=vocab, max_length=length)
    heads = {name: count_head(task, body, vocab_size=vocab, num_labels=_labels(task)) for name, task in spec.tasks.items()}
    custom = list(dict.fromkeys(part.class_ for part in layers_of(spec).values()))
    if shapes is not None:
        parts, heads = _counted(shapes, "" if isinstance(body, EncoderDecoder) else f"{body.kind}.")
    backbone, head_total = sum(parts.values()), sum(sum(head.values()) for head in heads.values())
    tokens = spec.training.batch_size * (length + (written_length(spec) or 0))
    return {
        "name": spec.name,
        "parameters": {
            "backbone": _grouped(parts),
            "backbone_total": backbone,
            "heads": heads,
            "total": backbone + head_total,
        },
        "custom": custom,
        "custom_uncounted": custom if shapes is None else [],
        "labels_unknown": [name for name, task in spec.tasks.items() if getattr(task, "labels", ()) == "auto"],
        "flops_per_token": flops_of(spec, vocab),
        "tokens_per_step_at_most": tokens,
        "steps": steps_of(spec),
        "epochs": spec.training.epochs,
    }


def _counted(shapes: Mapping[str, Sequence[int]], stack: str) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Parameters of the body and of the heads by part; `stack` is left out of names."""
    parts: dict[str, int] = {}
    heads: dict[str, dict[str, int]] = {}
    for name, shape in shapes.items():
        found = PART.match(name.removeprefix(stack))
        assert found is not None
        head, part = found.groups()
        into = heads.setdefault(head, {}) if head else parts
        into[part or found.group()] = into.get(part or found.group(), 0) + math.prod(shape)
    return parts, heads


def steps_of(spec: RunSpec) -> int | None:
    """Optimizer steps as far as the spec alone tells: epochs need the data. Full rows are taken for tokens."""
    training = spec.training
    if training.tokens is not None:
        return math.ceil(training.tokens / (training.batch_size * (spec.data.max_length + (written_length(spec) or 0))))
    return training.steps


def written_length(spec: RunSpec) -> int | None:
    """Tokens of the longest row that a decoder writes beside an encoder's full row; None where no task has such rows."""
    if not isinstance(body_of(spec), EncoderDecoder):
        return None
    longest = spec.data.max_length
    found = []
    for task in spec.tasks.values():
        if isinstance(task, Seq2seq):
            found.append(spec.data.target_length)
        elif isinstance(task, SpanCorruption):
            found.append(int(sum(counts(np.array(longest), task.mask_rate, task.mean_span))))
        elif isinstance(task, PrefixLm):
            found.append(longest)
    return max(found, default=None)


def _labels(task: AnyTask) -> int:
    return len(task.declared) or 2 if isinstance(task, Labelled) else 2


def flops_of(spec: RunSpec, vocab: int) -> dict[str, float]:
    """Matrix-product operations for a token of a full row, all tasks in one pass: `forward` and `training`. Where a decoder writes
    rows of its own, their tokens are tokens too, and heads read them alone.
    """
    body, length, written = body_of(spec), spec.data.max_length, written_length(spec)
    found = flops_per_token(body, length=length, target_length=written)
    share = 1.0 if written is None else written / (length + written)
    for task in spec.tasks.values():
        head = head_flops_per_token(task, body, vocab_size=vocab, length=length, num_labels=_labels(task))
        found = {name: value + share * head[name] for name, value in found.items()}
    return found


def _grouped(parts: Mapping[str, int]) -> dict[str, int]:
    """The layers of a stack as one entry where they are equal, `layers.0-11`; the sum stays."""
    stacks: dict[str, list[str]] = {}
    for name in parts:
        stacks.setdefault(name.rpartition(".")[0] if LAYER.search(name) else name, []).append(name)
    found: dict[str, int] = {}
    for stack, names in stacks.items():
        if len(names) < 2 or len({parts[name] for name in names}) > 1:
            found |= {name: parts[name] for name in names}
        else:
            found[f"{stack}.0-{len(names) - 1}"] = sum(parts[name] for name in names)
    return found


def lines(facts: Mapping[str, Any]) -> list[str]:
    """The facts for a reader."""
    parameters = facts["parameters"]
    rows = [(f"  {name}", value) for name, value in parameters["backbone"].items()]
    rows.append(("backbone", parameters["backbone_total"]))
    for head, parts in parameters["heads"].items():
        rows += [(f"  heads.{head}.{part}", value) for part, value in parts.items()]
    rows.append(("parameters", parameters["total"]))
    width = max(len(name) for name, _ in rows)
    text = [f"{facts['name']}"] + [f"{name:<{width}} {value:>16,}" for name, value in rows]
    text += [f"  heads.{name}.classifier is counted for 2 labels; data.train decides" for name in facts["labels_unknown"]]
    custom = facts["custom_uncounted"]
    text += [f"  plus the parameters of {name}, which only its code knows: --allow-code counts them" for name in custom]
    flops = facts["flops_per_token"]
    kind = "matrix products, those of custom parts left out" if facts["custom"] else "matrix products"
    text.append(f"FLOPs per token: {flops['forward']:,.0f} forward, {flops['training']:,.0f} training ({kind})")
    tokens = facts["tokens_per_step_at_most"]
    if facts["steps"] is None:
        text.append(f"steps: {facts['epochs']:g} epochs (lmkit data counts their rows), at most {tokens:,} tokens each")
    else:
        text.append(
            f"steps: {facts['steps']:,} of at most {tokens:,} tokens: {facts['steps'] * flops['training'] * tokens:.2e} FLOPs in all"
        )
    return text
