"""A run's model in tensors: the body, the heads of its tasks, and weights taken over from another run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np

from lmkit.errors import CheckpointError, Problem
from lmkit.heads.model import Model
from lmkit.layers.build import require_named_weights
from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.names import matches
from lmkit.run.body import body_of
from lmkit.run.taken import same_head
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import AnyTask

HEADS = "heads."


def build_model(spec: RunSpec, *, vocab_size: int, labels: Mapping[str, Sequence[str]], drawn: bool = True) -> Model:
    """The model under the dtype policy in force, its weights drawn from the seed; `labels` names those of each classification.

    `drawn` False leaves them zeros and ones, for who fills them all.
    """
    model = _built(spec, vocab_size=vocab_size, labels=labels)
    if drawn:
        initialize(model, spec.seed)
    return model


def shapes_of(spec: RunSpec, *, vocab_size: int, labels: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """The shape of every variable that the model has, by canonical name, without memory for any of them."""
    with keras.StatelessScope(initialize_variables=False):
        return {name: tuple(variable.shape) for name, variable in variables_of(_built(spec, vocab_size=vocab_size, labels=labels)).items()}


def _built(spec: RunSpec, *, vocab_size: int, labels: Mapping[str, Sequence[str]]) -> Model:
    body = body_of(spec)
    rematerialize, longest = spec.training.rematerialize == "blocks", spec.data.max_length
    backbone = build_backbone(body, vocab_size=vocab_size, max_length=longest, rematerialize=rematerialize)
    heads = {
        name: build_head(
            task, name, backbone=backbone, model_spec=body, num_labels=len(labels.get(name, ())), max_length=spec.data.max_length
        )
        for name, task in spec.tasks.items()
    }
    model = Model(backbone, heads)
    require_named_weights(model)
    return model


def variables_of(model: Model) -> dict:
    """Every variable by canonical name, in a fixed order."""
    return {canonical(variable): variable for variable in model.weights}


@dataclass(frozen=True)
class TakenOver:
    """What happened to the heads when a body was taken over."""

    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    new: tuple[str, ...]


def take_over(model: Model, tensors: Mapping[str, np.ndarray], where: str, *, leaving: Sequence[str] = ()) -> TakenOver:
    """Fills the body, and the heads that fit, with another run's weights, but for parts that the patterns `leaving` mean.

    Raises CheckpointError unless the body's names and shapes are exactly those of the model.
    """
    variables = variables_of(model)
    problems = [Problem(f"{name} is in the model but not in the checkpoint", where=where) for name in variables if _missing(name, tensors)]
    problems += [Problem(f"{name} is in the checkpoint but not in the model", where=where) for name in tensors if _missing(name, variables)]
    for name in variables.keys() & tensors.keys():
        shape = tuple(variables[name].shape)
        if not name.startswith(HEADS) and shape != tensors[name].shape:
            problems.append(Problem(f"{name} has shape {tensors[name].shape}, the model needs {shape}", where=where))
    if problems:
        raise CheckpointError(*problems[:10])
    fitting = {name for name in variables.keys() & tensors.keys() if tuple(variables[name].shape) == tensors[name].shape}
    ours, theirs = _heads(variables), _heads(tensors)
    kept = tuple(sorted(head for head in ours & theirs if _of(head, variables) == _of(head, tensors) <= fitting))
    for name in (name for name in fitting if not any(matches(pattern, name) for pattern in leaving)):
        if not name.startswith(HEADS) or name.split(".")[1] in kept:
            variables[name].assign(tensors[name])
    return TakenOver(kept, tuple(sorted(theirs - set(kept))), tuple(sorted(ours - set(kept))))


def under_our_names(tensors: Mapping[str, np.ndarray], ours: Mapping[str, AnyTask], theirs: Mapping[str, AnyTask]) -> dict[str, np.ndarray]:
    """The tensors, where the only language-modelling head of theirs has the name of our only one: both tasks learn the same head."""
    renamed = same_head(ours, theirs)
    if renamed is None:
        return dict(tensors)
    new, old = (f"{HEADS}{name}." for name in renamed)
    return {name.replace(old, new) if name.startswith(old) else name: value for name, value in tensors.items()}


def _missing(name: str, others: Mapping) -> bool:
    return not name.startswith(HEADS) and name not in others


def _heads(names: Mapping) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith(HEADS)}


def _of(head: str, names: Mapping) -> set[str]:
    return {name for name in names if name.startswith(f"{HEADS}{head}.")}
