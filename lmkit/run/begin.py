"""The weights that a run begins with where its model comes from another one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmkit.heads.model import Model
from lmkit.models.names import matches
from lmkit.models.spec import FromRun
from lmkit.run.model import build_model, shapes_of, take_over, under_our_names, variables_of
from lmkit.run.pretrained import parts_of
from lmkit.run.source import source_of
from lmkit.spec_file.spec import RunSpec
from lmkit.training.trainable import require_parts


def as_begun(spec: RunSpec, *, vocab_size: int, labels: Mapping[str, Sequence[str]]) -> Model:
    """A model as a run of the spec begins with it."""
    model = build_model(spec, vocab_size=vocab_size, labels=labels)
    begin(spec, model, variables_of(model), vocab_size=vocab_size, say=lambda line: None)
    return model


def begin(spec: RunSpec, model: Model, variables: Mapping[str, Any], *, vocab_size: int, say: Callable[[str], None]) -> None:
    """Fills the body, the heads that fit, and what there is of others, with the weights of model.from; else nothing is done.

    What model.reinitialize names keeps the weights that the seed gave it.
    Raises CheckpointError where these are not there, or are those of another body.
    """
    if not isinstance(spec.model, FromRun):
        return
    source = source_of(Path(spec.model.from_))
    tensors = source.weights(lambda: shapes_of(source.spec, vocab_size=vocab_size, labels=source.labels), say).tensors
    tensors = under_our_names(tensors, spec.tasks, source.spec.tasks)
    anew = spec.model.reinitialize
    require_parts(anew, list(variables), "model.reinitialize")
    heads = take_over(model, tensors, str(source.path), leaving=anew)
    new = {name: tuple(variables[name].shape) for name in variables if name.split(".")[1] in heads.new}
    parts = parts_of(spec, source, new, tensors)
    for name, value in parts.items():
        if not any(matches(pattern, name) for pattern in anew):
            variables[name].assign(value)
    taken = tuple(dict.fromkeys(name.rpartition(".")[0] for name in parts))
    for word, names in (("kept", heads.kept), ("dropped", heads.dropped), ("new", heads.new), ("new, but not in part", taken)):
        if names:
            say(f"heads {word}: {', '.join(names)}")
