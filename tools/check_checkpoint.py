"""Holds Hugging Face folders with a `reference.npz` against what lmkit makes of them: `python tools/check_checkpoint.py FOLDER ...`.

A row for each folder: the largest error of any array in standard deviations of the reference, whether greedy and beam ids are equal,
the relative errors of loss and gradient norm, whether the tokenizer gives every case of `tokenizer_cases.json`, whether its export has
the same bytes, whether files with a wrong key are refused by name, and whether transformers opens a model of the same words that was
never imported (where it is installed). Exits with 1 when anything fails.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from keras import ops

from lmkit.checkpoints.header import header_bytes, read_header
from lmkit.checkpoints.hub.facts import facts_of
from lmkit.checkpoints.hub.folder import SINGLE
from lmkit.checkpoints.hub.write import write_folder
from lmkit.engine import devices
from lmkit.engine.tensorflow import value_and_grad
from lmkit.errors import CheckpointError, LmkitError, Problem
from lmkit.generation.settings import Settings
from lmkit.heads.cross_entropy import binary_cross_entropy, cross_entropy
from lmkit.heads.regression import squared_error
from lmkit.inference.generator import generator_of
from lmkit.inference.logits import batch_of, logits_of
from lmkit.inference.manner import manner
from lmkit.run.console import Console
from lmkit.run.export import Options, outgoing_of
from lmkit.run.model import shapes_of, variables_of
from lmkit.run.source import Source, foreign_source, habits_of
from lmkit.run.verify import filled

ARRAYS, LOSS, GRADIENT = 2e-4, 2e-5, 1e-3
SETS = ("", "padded_", "left_")
COLUMNS = ("family", "error", "greedy", "beam", "loss", "gradient", "tokenizer", "export", "wrong keys", "transformers")


@dataclass
class Row:
    """What was found of one folder: cells by column, and sentences about what failed."""

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def note(self, column: str, cell: str, good: bool, why: str = "") -> None:
        self.cells[column] = cell if good else f"{cell} !"
        if not good:
            self.failures.append(f"{self.name}: {column}: {why or cell}")


class Checked:
    """One folder, its model filled, and its reference."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source: Source = foreign_source(path)
        assert self.source.imported is not None
        self.imported = self.source.imported
        self.shapes = shapes_of(self.source.spec, vocab_size=self.imported.vocab_size, labels=self.source.labels)
        self.tensors = dict(self.imported.tensors(self.shapes))
        self.model = filled(self.source, self.tensors, self.imported.vocab_size)
        if not (path / "reference.npz").exists():
            raise CheckpointError(Problem("has no reference.npz, which says what its model gives", where=str(path)))
        with np.load(path / "reference.npz") as file:
            self.reference = dict(file)
        if not any(f"{prefix}input_ids" in self.reference for prefix in SETS):
            raise self._lacks(" or ".join(f"{prefix}input_ids" for prefix in SETS))

    def _lacks(self, name: str) -> CheckpointError:
        return CheckpointError(Problem(f"has no array {name}", where=str(self.path / "reference.npz")))

    def inputs(self, prefix: str) -> dict[str, Any]:
        """As `batch`. Raises CheckpointError where the reference has no such set."""
        found = self.batch(prefix)
        if found is None:
            raise self._lacks(f"{prefix}input_ids")
        return found

    def batch(self, prefix: str) -> dict[str, Any] | None:
        """The inputs of one set of arrays; None where the reference has no such set."""
        tokens = self.reference.get(f"{prefix}input_ids")
        if tokens is None:
            return None
        mask = self.reference.get(f"{prefix}attention_mask")
        others = {}
        if "token_type_ids" in self.reference:
            others["token_types"] = self.reference["token_type_ids"]
        if f"{prefix}position_ids" in self.reference:
            others["positions"] = self.reference[f"{prefix}position_ids"]
        if "decoder_input_ids" in self.reference:
            others["decoder/tokens"] = self.reference["decoder_input_ids"]
        return batch_of(tokens, mask, **others)

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """All outputs of one set, under the names that references use."""
        batch = self.batch(prefix)
        if batch is None:
            return {}
        seen: dict[str, Any] = {}
        found = {name: np.asarray(value) for name, value in logits_of(self.model, self.source.spec.tasks, batch, seen.__setitem__).items()}
        return dict(self._named(found, {name: np.asarray(value) for name, value in seen.items()}))

    def _named(self, found: dict[str, np.ndarray], seen: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        for side in ("", "encoder_", "decoder_"):
            if f"{side}hidden" in found:
                hidden = found[f"{side}hidden"]
                yield f"{side}last_hidden_state", hidden
                inside = side.replace("_", ".")
                depth = sum(name.startswith(f"{inside}layers.") and name.count(".") == inside.count(".") + 1 for name in seen)
                layers = [seen[f"{inside}embeddings"], *(seen[f"{inside}layers.{i}"] for i in range(depth - 1)), hidden]
                yield from [(f"{side}hidden_states", np.stack(layers))] if len({one.shape for one in layers}) == 1 else []
        yield from self._pooled(found.get("hidden"))
        kinds = {task.kind: name for name, task in self.source.spec.tasks.items()}
        for kind, name in kinds.items():
            value = found[name]
            match kind:
                case "question_answering":
                    yield from {"start_logits": value[:, 0], "end_logits": value[:, 1]}.items()
                case "sentence_embedding":
                    yield "sentence_embedding", value
                case "masked_lm" if kinds.keys() & {"next_sentence", "sentence_order"}:
                    yield "prediction_logits", value
                    yield "logits", value
                case "sentence_order":
                    yield "sop_logits", value
                case "next_sentence":
                    yield "seq_relationship_logits", value
                    if len(kinds) == 1:
                        yield "logits", value
                case _:
                    yield "logits", value

    def _pooled(self, hidden: np.ndarray | None) -> Iterator[tuple[str, np.ndarray]]:
        """BERT's pooler, which has no use in a model without heads and is only kept."""
        kept = self.imported.plan(self.shapes).kept
        weight, bias = (next((key for key in kept if "pooler" in key and key.endswith(end)), None) for end in ("weight", "bias"))
        if hidden is not None and weight and bias:
            stored = self.imported.folder.tensors
            yield "pooler_output", np.tanh(hidden[:, 0] @ stored[weight].floats().T + stored[bias].floats())


def errors(checked: Checked) -> dict[str, float]:
    """max |a - b| / std of every array of the reference that is an output, at places that are not padding."""
    found = {}
    for prefix in SETS:
        arrays = checked.arrays(prefix)
        mask = checked.reference.get(f"{prefix}attention_mask")
        for name, ours in arrays.items():
            pooled = name == "sentence_embedding" and prefix == "padded_"
            theirs = checked.reference.get(name if pooled else prefix + name) if pooled or name != "sentence_embedding" else None
            if theirs is None:
                continue
            if theirs.shape != ours.shape:
                found[prefix + name] = float("inf")
                continue
            seen = np.ones(theirs.shape, bool)
            if mask is not None and not name.startswith("decoder_") and mask.shape in (theirs.shape[:2], theirs.shape[1:3]):
                axes = (0, 1) if theirs.shape[:2] == mask.shape else (1, 2)
                if "decoder_input_ids" not in checked.reference or name.startswith("encoder_"):
                    shape = [theirs.shape[i] if i in axes else 1 for i in range(theirs.ndim)]
                    seen = np.broadcast_to(mask.astype(bool).reshape(shape), theirs.shape)
            found[name if pooled else prefix + name] = float(np.abs(ours - theirs)[seen].max() / theirs[seen].std())
    return found


def untold(checked: Checked, told: dict[str, float]) -> list[str]:
    """Float arrays of the reference that nothing of ours was compared with."""
    spoken = {"loss", "loss_labels", "loss_grad_norm", "sentence_embedding_unnormalized"}
    return [name for name, value in checked.reference.items() if value.dtype.kind == "f" and name not in told and name not in spoken]


def loss_and_gradient(checked: Checked) -> tuple[float, float]:
    """The reference's loss, and the norm of its gradient over all trained weights."""
    whole = checked.source.spec.model.kind == "decoder" and "logits" in checked.reference  # type: ignore[union-attr]
    prefix = "" if whole else "padded_"
    batch = checked.inputs(prefix)
    labels = checked.reference["loss_labels"]
    name, task = next(iter(checked.source.spec.tasks.items()))
    if task.kind == "seq2seq":
        batch["decoder/tokens"] = behind_start(checked, labels)

    def function() -> tuple[Any, Any]:
        logits = logits_of(checked.model, checked.source.spec.tasks, batch)[name]
        return _loss(task, logits, labels), ()

    plan = checked.imported.plan(checked.shapes)
    buffers = {our for move in plan.moves if move.row.kind == "row" for our in move.names}
    variables = [variable for variable_name, variable in variables_of(checked.model).items() if variable_name not in buffers]
    loss, _, gradients = value_and_grad(function, variables)
    return float(loss), float(np.sqrt(sum(float(np.sum(np.square(np.asarray(g, np.float64)))) for g in gradients)))


def behind_start(checked: Checked, labels: np.ndarray) -> np.ndarray:
    """What a decoder reads when it is to write the labels."""
    config = checked.imported.config
    written = np.where(labels < 0, config["pad_token_id"], labels)
    first = np.full((len(labels), 1), checked.imported.flat.get("start_id"))
    if checked.imported.family.model_type == "mbart":  # the language comes last, and goes first
        last = (written != config["pad_token_id"]).sum(axis=1, keepdims=True) - 1
        first = np.take_along_axis(written, last, axis=1)
    return np.concatenate([first, written[:, :-1]], axis=1).astype(np.int32)


def silence_padding(checked: Checked) -> None:
    """Lets no gradient through look-ups of the padding token, as torch does where an embedding is told of it."""
    body, pad = checked.model.backbone, checked.imported.config.get("pad_token_id")
    tables = [getattr(body, "token", None), *(getattr(side.embeddings, "token", None) for side in sides_of(body))]
    for table in filter(None, tables):
        look_up = table.call
        table.call = lambda ids, look_up=look_up: ops.where(
            ops.expand_dims(ops.equal(ids, pad), -1), ops.stop_gradient(look_up(ids)), look_up(ids)
        )


def sides_of(body: Any) -> list[Any]:
    """The stacks of a body."""
    return [body.encoder, body.decoder] if hasattr(body, "decoder") else [body]


def _loss(task: Any, logits: Any, labels: np.ndarray) -> Any:
    if task.kind == "replaced_token" or getattr(task, "multi_label", False):
        return ops.mean(binary_cross_entropy(logits, labels))
    if task.kind == "regression":
        return ops.mean(squared_error(ops.squeeze(logits, -1), labels.reshape(-1)))
    if task.kind == "causal_lm":
        logits, labels = logits[:, :-1], labels[:, 1:]
    flat = labels.reshape(-1)
    each, _ = cross_entropy(ops.reshape(logits, (-1, logits.shape[-1])), np.maximum(flat, 0))
    return ops.sum(each * (flat >= 0)) / max(1, int((flat >= 0).sum()))


def generated(checked: Checked, beams: int) -> tuple[list[Any], list[Any]]:
    """For each row the new ids up to an end, and whether there was one: ours, as lmkit generate would, and the reference's."""
    theirs = checked.reference[f"generate_beam{beams}" if beams > 1 else "generate_greedy"]
    decoder = "generate_prompt" in checked.reference
    prompts = checked.reference["generate_prompt" if decoder else "padded_input_ids"]
    real = np.ones_like(prompts) if decoder else checked.reference["padded_attention_mask"]
    spec = checked.source.spec
    words = manner({"beams": beams}, habits_of(checked.path), greedy=False, max_tokens=None)
    ends = words.setdefault("end", checked.source.tokenizer().ends)
    generator = generator_of(spec.tasks, checked.model, Settings(**words), context=spec.data.max_length)
    begun = len(generator.model.prefix) or prompts.shape[1]
    made = generator.generate([row[mask > 0].tolist() for row, mask in zip(prompts, real, strict=True)], max_tokens=theirs.shape[1] - begun)
    found = []
    for row in theirs[:, begun:].tolist():
        at = next((i for i, token in enumerate(row) if token in ends), None)
        found.append((row[:at], at is not None))
    return [(one.ids, one.reason == "end") for one in made], found


def tokenizer_problems(checked: Checked) -> list[str]:
    """Cases that the tokenizer gives otherwise than the reference."""
    path = checked.path / "tokenizer_cases.json"
    if not path.exists():
        return []
    tokenizer = checked.source.tokenizer()
    wrong = []
    for case in json.loads(path.read_text(encoding="utf-8")):
        row = tokenizer.rows([case["text"]], [case["pair"]], specials=True)[0]
        plain = [int(i) for text in (case["text"], case["pair"]) if text is not None for i in tokenizer.encode([text])[0]]
        found: dict[str, Any] = {"ids": row.ids.tolist(), "ids_no_special": plain}
        found["decoded"] = tokenizer.decode(case["ids"])
        if case.get("type_ids"):
            found["type_ids"] = row.types.tolist()
        wrong += [f"{case['text'][:20]!r} {key}" for key, value in found.items() if key in case and case[key] != value]
    return wrong


def export_problems(checked: Checked) -> list[str]:
    """Keys that a folder written again does not have as they were."""
    facts = facts_of(checked.imported, checked.shapes)
    with tempfile.TemporaryDirectory() as home:
        out = Path(home) / "out"
        write_folder(out, outgoing_of(checked.source, facts, Options(), checked.path), checked.tensors)
        before, after = (foreign_source(path).imported.folder for path in (checked.path, out))  # type: ignore[union-attr]
        wrong = [f"{key} is only in one" for key in before.tensors.keys() ^ after.tensors.keys()]
        for key in before.tensors.keys() & after.tensors.keys():
            one, other = before.tensors[key], after.tensors[key]
            if (one.dtype, one.shape) != (other.dtype, other.shape) or one.read().tobytes() != other.read().tobytes():
                wrong.append(f"{key} has other bytes")
        if (checked.path / "config.json").read_bytes() != (out / "config.json").read_bytes():
            wrong.append("config.json")
        return wrong


def wrong_key_problems(checked: Checked) -> list[str]:
    """Changed files that are not refused by naming the key: one key too many, one missing, one of another shape."""
    stored = checked.imported.folder.tensors
    victim = next(iter(checked.imported.plan(checked.shapes).moves)).key
    wrong = []
    for what in ("extra", "missing", "misshaped"):
        tensors = {key: (one.dtype, one.shape, one.read()) for key, one in stored.items()}
        named = victim
        if what == "extra":
            named = "surprise.weight"
            tensors[named] = ("F32", (2,), np.zeros(2, np.float32))
        elif what == "missing":
            del tensors[named]
        else:
            dtype, shape, array = tensors[named]
            tensors[named] = (dtype, (shape[0] + 1, *shape[1:]), np.concatenate([array, array[:1]]))
        with tempfile.TemporaryDirectory() as home:
            shutil.copytree(checked.path, home, ignore=shutil.ignore_patterns("*.safetensors*", "*.npz"), dirs_exist_ok=True)
            header = header_bytes([(key, dtype, shape) for key, (dtype, shape, _) in tensors.items()])
            (Path(home) / SINGLE).write_bytes(header + b"".join(array.tobytes() for _, _, array in tensors.values()))
            assert read_header(Path(home) / SINGLE)
            try:
                again = foreign_source(Path(home))
                assert again.imported is not None
                again.imported.tensors(checked.shapes)
                wrong.append(f"{what} {named} is not refused")
            except CheckpointError as error:
                if named not in str(error):
                    wrong.append(f"{what} {named} is refused with: {str(error)[:100]}")
    return wrong


def transformers_error(checked: Checked) -> float | None:
    """How far the logits of transformers are from ours on a folder whose config and keys are lmkit's own; None without transformers."""
    try:
        import torch
        import transformers
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as home:
        out = Path(home) / "out"
        name = write_folder(out, outgoing_of(checked.source, None, Options(), checked.path), checked.tensors)
        transformers.logging.set_verbosity_error()
        model = getattr(transformers, name).from_pretrained(out).eval()
    batch = checked.inputs("padded_")
    inputs = {"input_ids": batch["tokens"], "attention_mask": batch["segments"]}
    if "token_types" in batch:
        inputs["token_type_ids"] = batch["token_types"]
    if "decoder/tokens" in batch:
        inputs["decoder_input_ids"] = batch["decoder/tokens"]
    with torch.no_grad():
        theirs = model(**{key: torch.tensor(value.astype(np.int64)) for key, value in inputs.items()})
    ours = checked.arrays("padded_")
    worst = 0.0
    for key in ("logits", "start_logits", "prediction_logits", "seq_relationship_logits", "last_hidden_state"):
        if key in ours and getattr(theirs, key, None) is not None:
            other = getattr(theirs, key).numpy()
            real = batch["segments"].astype(bool)
            seen = real if other.shape[:2] == real.shape and "decoder/tokens" not in batch else np.ones(other.shape[:1], bool)
            worst = max(worst, float(np.abs(ours[key] - other)[seen].max() / other[seen].std()))
    return worst


def check(path: Path) -> Row:
    """Every point for one folder."""
    row = Row(path.name)
    try:
        checked = Checked(path)
    except LmkitError as error:
        row.note("family", "not read", False, str(error))
        return row
    row.note("family", checked.imported.family.model_type, True)
    found = errors(checked)
    worst = max(found, key=lambda name: found[name], default="")
    left = untold(checked, found)
    why = f"{worst} is off by {found[worst]:.2g}" if worst else "no array was compared"
    row.note("error", f"{found.get(worst, float('inf')):.1e}", found.get(worst, 1) <= ARRAYS, why)
    if left:
        row.failures.append(f"{path.name}: error: not compared: {', '.join(left)}")
    for column, beams in (("greedy", 1), ("beam", 3)):
        if (f"generate_beam{beams}" if beams > 1 else "generate_greedy") in checked.reference:
            row.note(column, *_same(*generated(checked, beams)))
    if "loss" in checked.reference:
        loss, norm = loss_and_gradient(checked)
        if abs(norm / float(checked.reference["loss_grad_norm"]) - 1) > GRADIENT:
            silence_padding(checked)
            loss, norm = loss_and_gradient(checked)
        for column, value, key, limit in (("loss", loss, "loss", LOSS), ("gradient", norm, "loss_grad_norm", GRADIENT)):
            off = abs(value - float(checked.reference[key])) / abs(float(checked.reference[key]))
            row.note(column, f"{off:.1e}", off <= limit, f"{value} instead of {float(checked.reference[key])}")
    for column, problems in (("tokenizer", tokenizer_problems), ("export", export_problems), ("wrong keys", wrong_key_problems)):
        _listed(row, column, lambda problems=problems: problems(checked))  # type: ignore[misc]
    try:
        other = transformers_error(checked)
        if other is not None:
            row.note("transformers", f"{other:.1e}", other <= ARRAYS)
    except Exception as error:
        row.note("transformers", "no", False, f"{type(error).__name__}: {str(error)[:300]}")
    return row


def _same(ours: list[Any], theirs: list[Any]) -> tuple[str, bool, str]:
    return "equal" if ours == theirs else "differs", ours == theirs, f"{ours} instead of {theirs}"


def _listed(row: Row, column: str, problems: Callable[[], list[str]]) -> None:
    try:
        found = problems()
    except LmkitError as error:
        found = [str(error)]
    row.note(column, f"{len(found)} wrong" if found else "ok", not found, "; ".join(found[:4]))


def main() -> int:
    """Checks the folders of the command line and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", nargs="+", type=Path)
    arguments = parser.parse_args()
    devices.configure()
    devices.set_precision("float32")
    rows = []
    for path in arguments.folders:
        try:
            rows.append(check(path))
        except Exception as error:
            rows.append(Row(path.name))
            rows[-1].note("error", "crash", False, f"{type(error).__name__}: {str(error)[:300]}")
        print(f"{rows[-1].name}: {len(rows[-1].failures)} failures", file=sys.stderr, flush=True)
    width = max(len(row.name) for row in rows)
    print(f"{'folder':<{width}}  " + "  ".join(f"{column:<12}" for column in COLUMNS))
    for row in rows:
        print(f"{row.name:<{width}}  " + "  ".join(f"{row.cells.get(column, '-'):<12}" for column in COLUMNS))
    for row in rows:
        print("\n".join(row.failures), end="\n" if row.failures else "")
    return 1 if any(row.failures for row in rows) else 0


CONSOLE = Console(out=print, err=lambda line: print(line, file=sys.stderr), write=lambda text: print(text, end=""))

if __name__ == "__main__":
    sys.exit(main())
