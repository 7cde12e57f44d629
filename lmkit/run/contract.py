"""The contract of the rooms, run over the custom parts of a spec: a model made of them behaves as models must."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import ops

from lmkit.engine import devices
from lmkit.engine.tensorflow import compiled, value_and_grad
from lmkit.errors import Problem
from lmkit.heads.model import Model
from lmkit.layers.build import code_of
from lmkit.layers.weights import canonical
from lmkit.models.spec import EncoderDecoder
from lmkit.run.code import blame, files_run, first_line
from lmkit.run.metric_contract import metric_breaches
from lmkit.run.trial import LENGTH, REAL, ROWS, Trial
from lmkit.spec_file.custom import layers_of
from lmkit.spec_file.spec import RunSpec

MOST = 3  # findings of one kind
UNMOVED = "attention.key.bias"  # softmax ignores what all keys share


def it_runs(trial: Trial) -> Iterator[str]:
    trial.outputs(trial.model, trial.batch)
    yield from ()


def shapes_are_known_without_values(trial: Trial) -> Iterator[str]:
    symbols = {name: keras.KerasTensor(value.shape, dtype=value.dtype.name) for name, value in trial.batch.items()}
    real, symbolic = trial.outputs(trial.model, trial.batch), trial.outputs(trial.model, symbols)
    for name, value in real.items():
        if tuple(symbolic[name].shape) != tuple(value.shape):
            yield f"{name} is {tuple(symbolic[name].shape)} before the values are known and {tuple(value.shape)} after"


def a_gradient_reaches_every_weight(trial: Trial) -> Iterator[str]:
    layers = [layer for layer in trial.model._flatten_layers() if code_of(type(layer))]
    mine = {f"the gradient of {canonical(weight)}" for layer in layers for weight in layer.weights}
    for name, gradient in _gradients(trial, trial.model).items():
        if name in mine and not name.endswith(UNMOVED) and not np.any(np.asarray(gradient)):
            yield f"{name} is nothing but zeros"


def a_config_makes_the_same_model(trial: Trial) -> Iterator[str]:
    again = Model.from_config(trial.model.get_config())
    names = [canonical(weight) for weight in trial.model.weights]
    if [canonical(weight) for weight in again.weights] != names:
        yield "a layer made from get_config has weights of other names"
        return
    for weight, other in zip(again.weights, trial.model.weights, strict=True):
        weight.assign(other)
    yield from _differ(trial.outputs(again, trial.batch), trial.outputs(trial.model, trial.batch), 0)


def names_are_unique(trial: Trial) -> Iterator[str]:
    names = [canonical(weight) for weight in trial.model.weights]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two weights are called {name}"


def a_row_does_not_depend_on_the_rows_beside_it(trial: Trial) -> Iterator[str]:
    for row_key in (None, trial.row_key):
        whole = trial.outputs(trial.model, trial.batch, row_key)
        alone = trial.outputs(
            trial.model, {name: value[1:2] for name, value in trial.batch.items()}, None if row_key is None else row_key[1:2]
        )
        yield from _differ(alone, {name: value[1:2] for name, value in whole.items()}, 1e-4)


def padding_changes_nothing(trial: Trial) -> Iterator[str]:
    length = int(REAL[1].sum())
    cut = {name: value[1:2, :length] if value.ndim == 2 else value[1:2] for name, value in trial.batch.items()}
    whole = {name: value[1:2] for name, value in trial.outputs(trial.model, trial.batch).items()}
    yield from _differ(trial.outputs(trial.model, cut), whole | {"hidden": whole["hidden"][:, :length]}, 1e-4)


def one_draw_is_repeated_by_its_row_key(trial: Trial) -> Iterator[str]:
    first, second = (trial.outputs(trial.model, trial.batch, trial.row_key) for _ in range(2))
    yield from _differ(first, second, 0)


def a_graph_gives_what_python_gives(trial: Trial) -> Iterator[str]:
    graph = compiled(lambda batch: trial.outputs(trial.model, batch, batch["row_key"]))(trial.batch | {"row_key": trial.row_key})
    yield from _differ(graph, trial.outputs(trial.model, trial.batch, trial.row_key), 1e-4)


def blocks_computed_again_have_the_same_gradient(trial: Trial) -> Iterator[str]:
    kept, again = _gradients(trial, trial.model), _gradients(trial, trial.made(rematerialize=True))
    largest = max(float(np.abs(np.asarray(gradient)).max()) for gradient in kept.values())
    yield from _differ(again, kept, 1e-3, smallest=1e-3 * largest)


def bfloat16_keeps_weights_and_losses_in_float32(trial: Trial) -> Iterator[str]:
    yield from _in_bfloat16(trial, lambda: devices.set_precision("bfloat16"), weights="float32")


def weights_of_another_dtype_are_cast_where_they_are_used(trial: Trial) -> Iterator[str]:
    yield from _in_bfloat16(trial, lambda: devices.hold_in("bfloat16"), weights="bfloat16")


def _in_bfloat16(trial: Trial, begin: Callable[[], None], *, weights: str) -> Iterator[str]:
    begin()
    try:
        mixed = trial.made()
        found = trial.outputs(mixed, trial.batch)
    finally:
        devices.set_precision("float32")
    if found["hidden"].dtype.name != "bfloat16":
        yield f"hidden states are {found['hidden'].dtype.name}; compute in the dtype of what comes in"
    yield from (f"{canonical(weight)} is {weight.dtype}" for weight in mixed.weights if weight.dtype != weights)
    for name, value in found.items():
        if name.endswith((".loss", ".weight", ".correct")) and value.dtype.name != "float32":
            yield f"{name} is {value.dtype.name}"
        if not np.all(np.isfinite(np.asarray(ops.cast(value, "float32")))):
            yield f"{name} is not finite"


def a_decoder_sees_no_later_token(trial: Trial) -> Iterator[str]:
    if not trial.model.backbone.causal:
        return
    key = "decoder/tokens" if "decoder/tokens" in trial.batch else "tokens"
    changed = trial.batch[key].copy()
    changed[:, 4:] = changed[:, 4:][:, ::-1] + 3
    one, other = (trial.model.hidden(trial.batch | {key: tokens})[:, :4] for tokens in (trial.batch[key], changed))
    yield from _differ({"hidden": one}, {"hidden": other}, 1e-5)


def decoding_with_a_cache_is_the_full_pass(trial: Trial) -> Iterator[str]:
    backbone: Any = trial.model.backbone
    if not backbone.causal or isinstance(trial.body, EncoderDecoder):
        return
    whole, cache, start, parts = backbone(trial.batch["tokens"]), backbone.empty_cache(ROWS, LENGTH + 2), 0, []
    for size in (3, 1, 2, 1, 1):
        part, cache = backbone(trial.batch["tokens"][:, start : start + size], cache=cache, cache_index=start)
        parts.append(part)
        start += size
    yield from _differ({"hidden": ops.concatenate(parts, 1)}, {"hidden": whole}, 1e-4)


CHECKS: tuple[Callable[[Trial], Iterator[str]], ...] = (
    names_are_unique,
    shapes_are_known_without_values,
    a_gradient_reaches_every_weight,
    a_config_makes_the_same_model,
    a_row_does_not_depend_on_the_rows_beside_it,
    padding_changes_nothing,
    one_draw_is_repeated_by_its_row_key,
    a_graph_gives_what_python_gives,
    blocks_computed_again_have_the_same_gradient,
    bfloat16_keeps_weights_and_losses_in_float32,
    weights_of_another_dtype_are_cast_where_they_are_used,
    a_decoder_sees_no_later_token,
    decoding_with_a_cache_is_the_full_pass,
)


def breaches(spec: RunSpec) -> list[Problem]:
    """What is broken of the contract, each under the sentence that it breaks; the code of the spec was run.

    Raises SpecError where weights have no names.
    """
    return [*metric_breaches(spec), *(_of_layers(spec) if layers_of(spec) else ())]


def _of_layers(spec: RunSpec) -> list[Problem]:
    devices.configure()
    devices.set_precision("float32")
    trial = Trial(spec)
    files = " and ".join(files_run())
    found: list[Problem] = []
    for check in (it_runs, *CHECKS):
        sentence = check.__name__.replace("_", " ")
        try:
            found += [Problem(f"not so: {sentence}: {what}", where=files) for what in islice(check(trial), MOST)]
        except Exception as error:
            place, key = blame(error)
            found.append(Problem(f"not so: {sentence}: {first_line(error)}", key, place or files))
            if check is it_runs:
                break
    return found


def _gradients(trial: Trial, model: Model) -> dict[str, Any]:
    weights = model.trainable_weights
    _, _, found = value_and_grad(lambda: (trial.loss(model, trial.batch, trial.row_key), ()), weights)
    return {f"the gradient of {canonical(weight)}": gradient for weight, gradient in zip(weights, found, strict=True)}


def _differ(found: dict[str, Any], expected: dict[str, Any], tolerance: float, smallest: float = 1e-6) -> Iterator[str]:
    for name, value in expected.items():
        one, other = (np.asarray(ops.cast(x, "float32")) for x in (found[name], value))
        scale = max(float(np.abs(other).max(initial=0)), smallest)
        error = float(np.abs(one - other).max(initial=0)) / scale if one.shape == other.shape else np.inf
        if not error <= tolerance:
            yield f"{name} differs by {error:.1e} of its size"
