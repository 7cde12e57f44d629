"""Whether a folder that was written gives the logits of the model that it was written from."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lmkit.engine import devices
from lmkit.errors import CheckpointError, Problem
from lmkit.heads.model import Model
from lmkit.run.console import Console
from lmkit.run.logits import batch_of, logits_of
from lmkit.run.model import build_model, shapes_of, variables_of
from lmkit.run.source import Source, foreign_source

TOLERANCE = 2e-4  # of the standard deviation of the logits
ROUNDED = 0.2  # where the weights were rounded to 16 bits
ROWS, LENGTH = 2, 17


def verify(source: Source, tensors: Mapping[str, np.ndarray], folder: Path, *, exact: bool, console: Console) -> Iterator[str]:
    """Lines that say how near the logits are. Raises CheckpointError where they are not near enough."""
    devices.configure()
    devices.set_precision("float32")
    written = foreign_source(folder)
    vocab = source.tokenizer().vocab_size
    tokens = np.random.default_rng(0).integers(0, vocab, (ROWS, min(LENGTH, source.spec.data.max_length))).astype(np.int32)
    model = filled(source, tensors, vocab)
    mine = logits_of(model, source.spec, batch_of(tokens))
    del model
    shapes = shapes_of(written.spec, vocab_size=vocab, labels=written.labels)
    again, _ = written.weights(lambda: shapes, console.err)
    theirs = logits_of(filled(written, again, vocab), written.spec, batch_of(tokens))
    if not source.spec.tasks:  # a bare body is read again with a task that has no weights
        theirs = {name: theirs[name] for name in mine}
    for name, ours, other in zip(mine, map(np.asarray, mine.values()), map(np.asarray, theirs.values()), strict=True):
        error = float(np.abs(ours - other).max() / max(float(ours.std()), 1e-12))
        if not error <= (TOLERANCE if exact else ROUNDED):
            raise CheckpointError(Problem(f"{name}: the logits differ by {error:.2g} of their standard deviation", where=str(folder)))
        yield f"read again: {name} differs by {error:.1e} of its standard deviation"


def filled(source: Source, tensors: Mapping[str, np.ndarray], vocab_size: int) -> Model:
    """The model of a source with these weights."""
    model = build_model(source.spec, vocab_size=vocab_size, labels=source.labels, drawn=False)
    for name, variable in variables_of(model).items():
        if name in tensors:
            variable.assign(tensors[name])
    return model
