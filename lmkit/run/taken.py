"""What a run whose model comes from another one takes from there, told by words alone, before there is a model."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lmkit.checkpoints.find import candidates
from lmkit.models.count import count
from lmkit.models.names import depths, matches
from lmkit.models.spec import Body, EncoderDecoder, FromRun, stacks
from lmkit.run.body import body_of, with_body
from lmkit.run.pretrained import origin_of
from lmkit.run.source import Source, source_of
from lmkit.spec import Amount
from lmkit.spec_file.custom import layers_of
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.count import count_head
from lmkit.tasks.spec import AnyTask, CausalLm, DirectPreference, Labelled, Pooled, PrefixLm, Seq2seq, SpanCorruption

LAYER = re.compile(r"(.*layers)\.(\d+)$")
ANY_SIZE = 2  # of a vocabulary, which both models share


@dataclass(frozen=True)
class Taken:
    """Parts of a model by what becomes of them; `weights` is where those that are taken lie, `later` says from when parts learn."""

    weights: str
    body: str
    taken: tuple[str, ...]
    anew: tuple[str, ...]
    left: tuple[str, ...]
    frozen: tuple[str, ...]
    later: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """For a reader."""
        yield f"model.from: the weights of {self.weights}, {self.body}, with its tokenizer"
        said = {
            "taken over": self.taken,
            "begins anew": self.anew,
            "left behind": self.left,
            "frozen": self.frozen,
            "learns later": self.later,
        }
        yield from (f"  {word}: {', '.join(parts)}" for word, parts in said.items() if parts)


def taken(spec: RunSpec) -> Taken | None:
    """None where the model comes from nowhere. Raises CheckpointError where what it comes from cannot be read, SpecError where the spec
    does not go with it.
    """
    if not isinstance(spec.model, FromRun) or spec.model.body is not None:
        return None
    source, filled = source_of(Path(spec.model.from_)), with_body(spec)
    body, words = body_of(filled), spec.model
    weights = candidates(source.path)[0] if source.imported is None else source.path
    parts = list(count(body, vocab_size=ANY_SIZE, max_length=filled.data.max_length))
    kept = tuple(part for part in parts if not any(matches(pattern, _full(part, body)) for pattern in words.reinitialize))
    fitting, new, dropped = _heads(filled, source)
    return Taken(
        weights=str(weights),
        body=_called(body),
        taken=(*_ranges(kept), *fitting),
        anew=(*words.reinitialize, *new),
        left=tuple(dropped),
        frozen=words.freeze,
        later=tuple(_later(spec, words, parts, body)),
    )


def same_head(ours: Mapping[str, AnyTask], theirs: Mapping[str, AnyTask]) -> tuple[str, str] | None:
    """The only language-modelling heads of both, where their names differ: both tasks learn the same head."""
    our, their = (
        [name for name, task in tasks.items() if isinstance(task, CausalLm | Seq2seq | SpanCorruption | PrefixLm | DirectPreference)]
        for tasks in (ours, theirs)
    )
    return (our[0], their[0]) if len(our) == len(their) == 1 and our[0] not in theirs and their[0] not in ours else None


def _heads(spec: RunSpec, source: Source) -> tuple[list[str], list[str], list[str]]:
    """Heads that are taken over, those that begin anew, and those of the source that are not wanted."""
    renamed = same_head(spec.tasks, source.spec.tasks)
    theirs = {(renamed[0] if renamed and name == renamed[1] else name): (name, task) for name, task in source.spec.tasks.items()}
    custom = {path[1] for part in (spec, source.spec) for path in layers_of(part) if path[0] == "tasks"}
    poolers = origin_of(source) is not None
    fitting, new = list[str](), list[str]()
    for name, task in spec.tasks.items():
        called, there = theirs.get(name, ("", None))
        labels = len(source.labels.get(called, ()))
        own = len(task.declared) or labels if isinstance(task, Labelled) else 0
        sizes = count_head(task, body_of(spec), vocab_size=ANY_SIZE, num_labels=own)
        if name in custom:
            (fitting if there else new).append(f"heads.{name}" + (" if it fits" if there else ""))
        elif there is not None and sizes == count_head(there, body_of(source.spec), vocab_size=ANY_SIZE, num_labels=labels):
            unsure = f" if the data has its {labels} labels" if isinstance(task, Labelled) and not task.declared else ""
            fitting += [f"heads.{name}{unsure}"] if any(sizes.values()) else []
        elif any(sizes.values()) or own == 0:
            pooled = poolers and isinstance(task, Pooled) and task.pooler_activation is not None
            new += [f"heads.{name}" + (" (but for its pooler, where there is one)" if pooled else "")] if sizes else []
    return fitting, new, [f"heads.{called}" for name, (called, _) in theirs.items() if name not in spec.tasks]


def _later(spec: RunSpec, words: FromRun, parts: Sequence[str], body: Body) -> Iterator[str]:
    """What does not learn from the first step on, the first to learn first."""
    every = words.unfreeze_every
    if every is None:
        return
    names = {_full(part, body): part for part in parts}
    depth, top = depths(list(names))
    waiting: dict[int, list[str]] = {}
    for name, part in names.items():
        if depth[name] < top and not any(matches(pattern, name) for pattern in words.freeze):
            waiting.setdefault(top - depth[name], []).append(part)
    whole = {"steps": spec.training.steps, "epochs": spec.training.epochs, "fraction": 1.0}.get(every.unit)
    for times, found in sorted(waiting.items()):
        after = Amount(value=every.value * times, unit=every.unit)
        never = whole is not None and after.value >= whole
        yield f"{' and '.join(found)} " + (f"never ({after} are more than there are)" if never else f"after {after}")


def _full(part: str, body: Body) -> str:
    """The canonical name that weights of a part begin with."""
    return f"{part}." if part == "embeddings" or isinstance(body, EncoderDecoder) else f"{body.kind}.{part}."


def _called(body: Body) -> str:
    layers = " and ".join(str(stack.num_layers) for stack in stacks(body))
    kind = body.kind.replace("_", "-")
    return f"{'an' if kind[0] == 'e' else 'a'} {kind} of {layers} layers"


def _ranges(parts: Sequence[str]) -> list[str]:
    """The parts, with layers that follow one another in one word."""
    found: list[tuple[str, int, int]] = []
    for part in parts:
        layer = LAYER.match(part)
        stem, number = (layer.group(1), int(layer.group(2))) if layer else (part, -1)
        if layer and found and found[-1][0] == stem and found[-1][2] == number - 1:
            found[-1] = (stem, found[-1][1], number)
        else:
            found.append((stem, number, number))
    return [stem if first < 0 else f"{stem}.{first}" + (f"-{last}" if last > first else "") for stem, first, last in found]
