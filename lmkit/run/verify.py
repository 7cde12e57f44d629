"""Whether a folder that was written gives the logits of the model that it was written from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.engine import devices
from lmkit.errors import CheckpointError, Problem
from lmkit.heads.model import Model
from lmkit.inference.logits import batch_of, logits_of
from lmkit.models.spec import EncoderDecoder
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.model import build_model, shapes_of, variables_of
from lmkit.run.source import Source, foreign_source
from lmkit.run.verify_transformers import output_of, transformers_logits
from lmkit.tasks.spec import Pooled

TOLERANCE = 2e-4  # of the standard deviation of the logits
ROUNDED = 0.2  # where the weights were rounded to 16 bits
ROWS, LENGTH = 2, 17


def verify(source: Source, tensors: Mapping[str, np.ndarray], folder: Path, *, exact: bool, console: Console) -> Iterator[str]:
    """Lines that say how near the logits are to those read again, and to those of transformers where that is installed.

    Raises CheckpointError where they are not near enough.
    """
    devices.configure()
    devices.set_precision("float32")
    written = foreign_source(folder)
    tokenizer, batch = source.tokenizer(), rows_of(source)
    mine = _logits(source, filled(source, tensors, tokenizer.vocab_size), batch)
    shapes = shapes_of(written.spec, vocab_size=tokenizer.vocab_size, labels=written.labels)
    again = written.weights(lambda: shapes, console.err).tensors
    theirs = _logits(written, filled(written, again, tokenizer.vocab_size), batch)
    names = {task.kind: name for name, task in written.spec.tasks.items()}
    renamed = {name: names[task.kind] for name, task in source.spec.tasks.items()}
    yield from _compared(mine, {name: theirs[renamed.get(name, name)] for name in mine}, "read again", folder, exact)
    found = transformers_logits(folder, batch) if written.imported and written.imported.folder.format == "huggingface" else None
    if found is None:
        return
    kinds = {name: task.kind for name, task in source.spec.tasks.items()} | {"hidden": "hidden", "decoder_hidden": "hidden"}
    known = {name: output_of(found, kinds[name]) for name in mine if name in kinds}
    yield from _compared(mine, {name: value for name, value in known.items() if value is not None}, "in transformers", folder, exact)


def rows_of(source: Source) -> dict[str, Any]:
    """A batch of plain tokens, the last one the end of a text where a head looks for that."""
    spec, tokenizer = source.spec, source.tokenizer()
    plain = [i for i in range(tokenizer.vocab_size) if i not in tokenizer.specials] or [0]
    shape = (ROWS, min(LENGTH, spec.data.max_length))
    tokens = np.random.default_rng(0).choice(plain, shape).astype(np.int32)
    ends = [task.end_id for task in spec.tasks.values() if isinstance(task, Pooled) and task.end_id is not None]
    tokens[:, -1:] = ends[0] if ends else tokens[:, -1:]
    paired = isinstance(body_of(spec), EncoderDecoder) and not ends
    return batch_of(tokens, **({"decoder/tokens": np.ascontiguousarray(tokens[:, ::-1])} if paired else {}))


def _logits(source: Source, model: Model, batch: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in logits_of(model, source.spec.tasks, batch).items()}


def _compared(
    mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], where: str, folder: Path, exact: bool
) -> Iterator[str]:  # fmt: skip
    for name, other in theirs.items():
        error = float(np.abs(mine[name] - other).max() / max(float(mine[name].std()), 1e-12))
        if not error <= (TOLERANCE if exact else ROUNDED):
            raise CheckpointError(Problem(f"{name}: {where}, it differs by {error:.2g} of its standard deviation", where=str(folder)))
        yield f"{where}: {name} differs by {error:.1e} of its standard deviation"


def filled(source: Source, tensors: Mapping[str, np.ndarray], vocab_size: int) -> Model:
    """The model of a source with these weights."""
    model = build_model(source.spec, vocab_size=vocab_size, labels=source.labels, drawn=False)
    for name, variable in variables_of(model).items():
        if name in tensors:
            variable.assign(tensors[name])
    return model
