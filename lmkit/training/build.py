"""The door of training: from words to an optimizer, and to what is done about bad steps."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, assert_never

import keras

from lmkit.engine import tensorflow as engine
from lmkit.training import optimizers
from lmkit.training.bad_steps import Policy
from lmkit.training.spec import Abort, Adafactor, AdamW, AnyOptimizer, Lion, Muon, Off, Rollback, Sgd, Skip
from lmkit.training.trainable import Optimizer, Rule, awakenings, is_decayed, is_hidden_matrix, multipliers


def build_rule(spec: AnyOptimizer, *, decayed: bool, hidden: bool) -> Rule:
    """The update rule of variables that decay or do not, and are matrices of the blocks or are not."""
    decay = spec.weight_decay if decayed else 0.0
    match spec:
        case AdamW():
            update = partial(optimizers.adamw, weight_decay=decay, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon)
            return Rule(update, optimizers.adamw_slots)
        case Lion():
            return Rule(partial(optimizers.lion, weight_decay=decay, beta1=spec.beta1, beta2=spec.beta2), optimizers.momentum_slots)
        case Adafactor():
            settings: dict[str, Any] = {"beta2_decay": spec.beta2_decay, "clip_threshold": spec.clip_threshold, "epsilon": spec.epsilon}
            return Rule(partial(optimizers.adafactor, weight_decay=decay, **settings), optimizers.adafactor_slots)
        case Muon() if hidden:
            # Not fused: nearly all its time is matrix products, which XLA computes more slowly on a CPU.
            return Rule(partial(optimizers.muon, weight_decay=decay, momentum=spec.momentum), optimizers.momentum_slots, fused=False)
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
    spec: AnyOptimizer,
    variables: Mapping[str, keras.Variable],
    *,
    freeze: Sequence[str] = (),
    unfreeze_every: int = 0,
    replicas: engine.Replicas,
) -> Optimizer:
    """The optimizer of a model's variables, given by canonical name; those that `freeze` names or that never learn stay as they are.

    With `unfreeze_every` steps, layers begin to learn one after another, from the top.
    """
    kinds = {name: (is_decayed(name), is_hidden_matrix(name, variable.shape)) for name, variable in variables.items()}
    shared = {kind: build_rule(spec, decayed=kind[0], hidden=kind[1]) for kind in set(kinds.values())}
    still = [name for name, variable in variables.items() if not variable.trainable]
    shares = multipliers(list(variables), layer_decay=spec.layer_decay, freeze=[*freeze, *still])
    asleep = awakenings(list(variables), unfreeze_every)
    return Optimizer(variables, {name: shared[kind] for name, kind in kinds.items()}, shares, replicas, asleep)


def build_policy(spec: Abort | Off | Skip | Rollback, key: str) -> Policy:
    """What a run does about the bad steps that this key of `training` is about."""
    match spec:
        case Off():
            return Policy(key, "off")
        case Abort():
            return Policy(key)
        case Skip():
            return Policy(key, "skip", spec.at_most)
        case Rollback():
            return Policy(key, "rollback", spec.at_most, spec.steps)
        case _ as never:
            assert_never(never)
