"""Which layer of a model is the first to give what is not finite."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from lmkit.layers.weights import canonical

Batch = Mapping[str, np.ndarray]


def first_layer(model: keras.layers.Layer, batch: Batch, parts: int) -> str | None:
    """The layer, by its canonical name, whose output is the first that is not finite when the model reads the batch in so many parts
    of its rows, each computed layer by layer outside any compiled program; None where all that layers give is finite.
    """
    with _watched(model) as found:
        for part in range(parts):
            rows = _rows(batch, part, parts)
            model(rows, row_key=rows["row_key"])
            if found:
                return found[0]
    return None


def _rows(batch: Batch, part: int, parts: int) -> dict[str, np.ndarray]:
    return {name: np.split(array, parts)[part] if array.ndim else array for name, array in batch.items()}


@contextmanager
def _watched(model: keras.layers.Layer) -> Iterator[list[str]]:
    """Within the block the names of layers that gave what is not finite gather in the list, inner ones first."""
    found: list[str] = []
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.path and canonical(layer)]

    def watch(layer: keras.layers.Layer) -> None:
        call = layer.call

        def watched(*args: Any, **options: Any) -> Any:
            given = call(*args, **options)
            if not all(map(_is_finite, keras.tree.flatten(given))):
                found.append(canonical(layer))
            return given

        object.__setattr__(layer, "call", watched)

    for layer in layers:
        watch(layer)
    try:
        yield found
    finally:
        for layer in layers:
            object.__delattr__(layer, "call")


def _is_finite(value: Any) -> bool:
    real = hasattr(value, "dtype") and keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype))
    return not real or bool(ops.all(ops.isfinite(value)))
