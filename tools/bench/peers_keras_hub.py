"""keras-hub's own models under `fit` and `generate`, with Keras's AdamW."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.bench.workloads import CLIP_NORM, LEARNING_RATE, WEIGHT_DECAY, Workload, random_batch

CONFIGURATIONS = ("xla_float32", "graph_float32", "xla_bfloat16", "graph_bfloat16")
DISTINCT = 8


def prepare(work: Workload, configuration: str) -> Callable[[int], float]:
    """Returns `run(n)`: the seconds that n steps of `fit` (or n generations) take."""
    import keras

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16" if configuration.endswith("bfloat16") else "float32")
    model = _model(work)
    if work.new_tokens:
        return _generation(work, model, jit=configuration.startswith("xla"))
    model.compile(
        optimizer=keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY, global_clipnorm=CLIP_NORM),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=configuration.startswith("xla"),
    )
    data = _dataset(work)

    def run(count: int) -> float:
        start = time.perf_counter()
        model.fit(data, steps_per_epoch=count, epochs=1, verbose=0)
        return time.perf_counter() - start

    return run


def _model(work: Workload) -> Any:
    import keras_hub

    shape = dict(
        vocabulary_size=work.vocabulary,
        num_layers=work.layers,
        num_heads=work.heads,
        hidden_dim=work.width,
        intermediate_dim=4 * work.width,
        dropout=work.dropout,
        max_sequence_length=work.length + work.new_tokens,
    )
    if work.kind == "masked_lm":
        return keras_hub.models.BertMaskedLM(keras_hub.models.BertBackbone(**shape), preprocessor=None)
    return keras_hub.models.GPT2CausalLM(keras_hub.models.GPT2Backbone(**shape), preprocessor=None)


def _dataset(work: Workload) -> Any:
    import tensorflow as tf

    batches = [random_batch(work, step) for step in range(DISTINCT)]
    tokens = np.concatenate([batch["tokens"] for batch in batches])
    labels = np.concatenate([batch["labels"] for batch in batches])
    features = {"token_ids": tokens, "padding_mask": np.ones_like(tokens)}
    if work.masked:
        where = np.concatenate([batch["where"] for batch in batches])
        features |= {"segment_ids": np.zeros_like(tokens), "mask_positions": where}
    sets = tf.data.Dataset.from_tensor_slices((features, labels))
    return sets.batch(work.batch, drop_remainder=True).cache().repeat().prefetch(2)


def _generation(work: Workload, model: Any, jit: bool) -> Callable[[int], float]:
    model.compile(sampler="greedy", jit_compile=jit)
    total = work.length + work.new_tokens
    tokens = np.zeros((work.batch, total), np.int32)
    tokens[:, : work.length] = random_batch(work, 0)["tokens"]
    prompt = {"token_ids": tokens, "padding_mask": (np.arange(total) < work.length).astype(np.int32) + np.zeros_like(tokens)}

    def run(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            made = model.generate(prompt, stop_token_ids=None)
            if not np.asarray(made["padding_mask"]).all():
                raise RuntimeError("generation stopped early")
        return time.perf_counter() - start

    return run
