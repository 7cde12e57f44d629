"""The words of the body that a run trains: its own, or those of the run it comes from."""

from pathlib import Path

from lmkit.errors import Problem, SpecError
from lmkit.models.spec import Body, FromRun, stacks, with_dropout
from lmkit.positions.spec import Learned
from lmkit.run.pretrained import with_heads
from lmkit.run.source import source_of
from lmkit.spec_file.spec import RunSpec


def with_body(spec: RunSpec) -> RunSpec:
    """The spec with the body's words in it, and those of new heads, where `model.from` names a run or a foreign folder.

    Raises CheckpointError when that is neither, SpecError when rows are longer than its table of positions or a task needs another body.
    """
    model = spec.model
    if not isinstance(model, FromRun) or model.body is not None:
        return spec
    source = source_of(Path(model.from_))
    body = body_of(source.spec)
    if model.dropout is not None:
        body = with_dropout(body, model.dropout)
    for position in (position for stack in stacks(body) for position in stack.position):
        if isinstance(position, Learned) and (position.max_length or 0) < spec.data.max_length:
            what = f"{spec.data.max_length} is longer than the {position.max_length} learned positions of {model.from_}"
            raise SpecError(Problem(what, "data.max_length"))
    filled = with_heads(spec.model_copy(update={"model": model.model_copy(update={"body": body})}), source)
    unfit = [Problem(what, key) for key, what in (*filled.rule_tasks_fit_the_model(), *filled.rule_parts_are_there())]
    if unfit:
        raise SpecError(*unfit)
    return filled


def body_of(spec: RunSpec) -> Body:
    """The words of the body; `with_body` has been there."""
    found = spec.model.body if isinstance(spec.model, FromRun) else spec.model
    assert found is not None
    return found
