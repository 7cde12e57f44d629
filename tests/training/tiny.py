"""A two-task model of a few hundred weights with the interface that the training step expects, and batches for it."""

import keras
import numpy as np
from keras import ops

from lmkit.engine import tensorflow as engine

VOCABULARY, WIDTH, LENGTH, MASKED = 17, 8, 6, 2


def _uniform(row_key, salt, shape):
    x = ops.reshape(ops.cast(row_key, "uint32"), (-1, 1, 1)) + ops.cast(salt, "uint32")
    x = x + ops.reshape(ops.cast(ops.arange(shape[1] * shape[2], dtype="int32"), "uint32"), (1, *shape[1:])) * np.uint32(2654435769)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = ops.bitwise_xor(x, ops.right_shift(x, np.uint32(shift))) * np.uint32(factor)
    return ops.cast(ops.right_shift(ops.bitwise_xor(x, ops.right_shift(x, np.uint32(16))), np.uint32(8)), "float32") / 2**24


class TinyModel(keras.layers.Layer):
    """Embedding, one dense layer with dropout; a masked-LM and a next-sentence head."""

    def __init__(self, dropout=0.2, seed=0):
        super().__init__(name="model", autocast=False)
        rng = np.random.default_rng(seed)
        self.dropout = dropout
        shapes = {
            "embeddings.token.embedding": (VOCABULARY, WIDTH),
            "encoder.layers.0.feed_forward.up.kernel": (WIDTH, WIDTH),
            "encoder.layers.0.feed_forward.up.bias": (WIDTH,),
            "heads.mlm.bias": (VOCABULARY,),
            "heads.nsp.classifier.kernel": (WIDTH, 2),
        }
        self.named = {}
        for name, shape in shapes.items():
            self.named[name] = self.add_weight(shape=shape, initializer="zeros", name=name.replace(".", "_"))
            self.named[name].assign(rng.standard_normal(shape).astype("float32") * 0.5)

    def call(self, batch, row_key=None):
        w = list(self.named.values())
        x = ops.take(w[0], batch["tokens"], axis=0)
        x = x + ops.tanh(ops.matmul(x, w[1]) + w[2])
        if row_key is not None and self.dropout:
            keep = _uniform(row_key, 7, x.shape) >= self.dropout
            x = ops.where(keep, x / (1 - self.dropout), 0.0)
        results = {}
        if "mlm/labels" in batch:
            picked = ops.take_along_axis(x, ops.expand_dims(batch["mlm/where"], -1), axis=1)
            logits = ops.matmul(picked, ops.transpose(w[0])) + w[3]
            results["mlm"] = self._score(logits, batch["mlm/labels"], batch["mlm/weights"])
        if "nsp/labels" in batch:
            logits = ops.matmul(ops.mean(x, axis=1), w[4])
            results["nsp"] = self._score(logits, batch["nsp/labels"], batch["nsp/weights"])
        return results

    def _score(self, logits, labels, weights):
        picked = ops.sum(ops.log_softmax(logits) * ops.one_hot(labels, logits.shape[-1]), axis=-1)
        predicted = ops.argmax(logits, axis=-1)
        correct = ops.cast(ops.equal(ops.cast(predicted, "int32"), labels), "float32") * weights
        loss = -picked * weights
        if len(loss.shape) == 2:
            loss, weights, correct = (ops.sum(value, axis=1) for value in (loss, weights, correct))
        return {"loss": loss, "weight": weights, "correct": correct, "predicted": predicted}


def batch(step, rows=8, length=LENGTH, tasks=("mlm", "nsp")):
    """A batch that depends on the step alone; some rows weigh nothing in a task."""
    rng = np.random.default_rng(step)
    made = {
        "tokens": rng.integers(0, VOCABULARY, (rows, length)).astype("int32"),
        "segments": np.ones((rows, length), "int32"),
        "row_key": rng.integers(0, 2**32, rows).astype("uint32"),
        "mlm/where": rng.integers(0, length, (rows, MASKED)).astype("int32"),
        "mlm/labels": rng.integers(0, VOCABULARY, (rows, MASKED)).astype("int32"),
        "mlm/weights": rng.integers(0, 2, (rows, MASKED)).astype("float32"),
        "nsp/labels": rng.integers(0, 2, rows).astype("int32"),
        "nsp/weights": (rng.random(rows) < 0.8).astype("float32"),
    }
    for task in ("mlm", "nsp"):
        made[f"{task}/denominator"] = np.float32(max(made[f"{task}/weights"].sum(), 1e-9))
    return {name: value for name, value in made.items() if name.partition("/")[0] not in {"mlm", "nsp"} - set(tasks)}


def alone():
    """One device."""
    return engine.replicas("one_device")
