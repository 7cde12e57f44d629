"""Whether keras-hub itself, where it is installed, gives the logits of the model that a preset was written from."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.hub.read import read_folder
from lmkit.errors import CheckpointError, Problem
from lmkit.inference.logits import batch_of, logits_of
from lmkit.run.source import Source
from lmkit.run.verify import LENGTH, ROUNDED, ROWS, TOLERANCE, filled


def verify_preset(source: Source, tensors: Mapping[str, np.ndarray], folder: Path, *, exact: bool) -> Iterator[str]:
    """A line that says how near the logits are. Raises CheckpointError where they are not near enough."""
    try:
        import keras_hub
    except ImportError:
        yield "keras-hub is not installed: not compared with it"
        return
    config = read_folder(folder).config
    name = config["architectures"][0] if source.spec.tasks else config["model_type"]
    vocab = source.tokenizer().vocab_size
    tokens = np.random.default_rng(0).integers(0, vocab, (ROWS, min(LENGTH, source.spec.data.max_length))).astype(np.int32)
    real = np.ones_like(tokens)
    real[-1, tokens.shape[1] // 2 :] = 0
    ours = logits_of(filled(source, tensors, vocab), source.spec.tasks, batch_of(tokens, real))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no optimizer in the preset
        without = {"preprocessor": None} if source.spec.tasks else {}
        theirs = _logits(getattr(keras_hub.models, name).from_preset(str(folder), **without), tokens, real)
    task = next((key for key in ours if key != "hidden"), "hidden")
    mine = np.asarray(ours[task])
    where = real == 1 if mine.ndim == 3 else slice(None)
    error = float(np.abs(mine - theirs)[where].max() / max(float(theirs[where].std()), 1e-12))
    if not error <= (TOLERANCE if exact else ROUNDED):
        what = f"{task}: the logits of keras-hub differ by {error:.2g} of their standard deviation"
        raise CheckpointError(Problem(what, where=str(folder)))
    yield f"{name} of keras-hub: {task} differs by {error:.1e} of its standard deviation"


def _logits(model: Any, tokens: np.ndarray, real: np.ndarray) -> np.ndarray:
    """What a task of keras-hub says of every place or row, or a body of every place."""
    inputs = {"token_ids": tokens, "padding_mask": real, "segment_ids": np.zeros_like(tokens)}
    inputs["mask_positions"] = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    made = model({name: inputs[name] for name in model.input})
    return np.asarray(made["sequence_output"] if isinstance(made, dict) else made)
