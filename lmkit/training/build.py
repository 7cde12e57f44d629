"""The door of training: from words to an optimizer."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, assert_never

import keras

from lmkit.engine import tensorflow as engine
from lmkit.training import optimizers
from lmkit.training.spec import Adafactor, AdamW, AnyOptimizer, Lion, Muon, Sgd
from lmkit.training.trainable import Optimizer, Rule, is_decayed, is_hidden_matrix, multipliers


def build_rule(spec: AnyOptimizer, name: str, shape: Sequence[int]) -> Rule:
    """The update rule of one variable."""
    decay = spec.weight_decay if is_decayed(name) else 0.0
    match spec:
        case AdamW():
            update = partial(optimizers.adamw, weight_decay=decay, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon)
            return Rule(update, optimizers.adamw_slots)
        case Lion():
            return Rule(partial(optimizers.lion, weight_decay=decay, beta1=spec.beta1, beta2=spec.beta2), optimizers.momentum_slots)
        case Adafactor():
            settings: dict[str, Any] = {"beta2_decay": spec.beta2_decay, "clip_threshold": spec.clip_threshold, "epsilon": spec.epsilon}
            return Rule(partial(optimizers.adafactor, weight_decay=decay, **settings), optimizers.adafactor_slots)
        case Muon() if is_hidden_matrix(name, shape):
            return Rule(partial(optimizers.muon, weight_decay=decay, momentum=spec.momentum), optimizers.momentum_slots)
        case Muon():
            betas: dict[str, Any] = {"beta1": optimizers.MUON_BETA1, "beta2": optimizers.MUON_BETA2, "epsilon": optimizers.MUON_EPSILON}
            update = partial(optimizers.adamw, weight_decay=decay, **betas)
            return Rule(update, optimizers.adamw_slots, rate=spec.adamw_learning_rate_ratio)
        case Sgd():
            update = partial(optimizers.sgd, weight_decay=decay, momentum=spec.momentum, nesterov=spec.nesterov)
            return Rule(update, optimizers.momentum_slots if spec.momentum else optimizers.no_slots)
        case _ as never:
            assert_never(never)


def build_optimizer(
    spec: AnyOptimizer, variables: Mapping[str, keras.Variable], *, freeze: Sequence[str] = (), replicas: engine.Replicas
) -> Optimizer:
    """The optimizer of a model's trainable variables, given by canonical name."""
    rules = {name: build_rule(spec, name, variable.shape) for name, variable in variables.items()}
    shares = multipliers(list(variables), layer_decay=spec.layer_decay, freeze=freeze)
    return Optimizer(variables, rules, shares, replicas)
