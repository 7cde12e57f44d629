"""The door of custom parts: a user's class, of a file that run/ has run, becomes a layer."""

import inspect
import sys
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.layers.spec import Custom

PREFIX = "lmkit_code_"


def module_of(sha256: str) -> str:
    """The name under which the code of a file with this checksum stands among Python's modules."""
    return PREFIX + sha256


def code_of(cls: type) -> str:
    """The file of a user's class, empty for any other."""
    return str(getattr(sys.modules.get(cls.__module__), "__file__", "")) if cls.__module__.startswith(PREFIX) else ""


def build_custom(spec: Custom, *, name: str, **given: Any) -> Any:
    """The layer, unbuilt, from its config and what its constructor names of `given`.

    Nothing is run here: raises SpecError unless the file was run before, which needs the user's permission.
    """
    module = sys.modules.get(module_of(spec.sha256 or ""))
    if module is None:
        raise SpecError(Problem("is code of your own, which runs with --allow-code only", where=spec.file))
    cls = getattr(module, spec.class_name)
    named = inspect.signature(cls.__init__).parameters
    return cls(**{key: value for key, value in given.items() if key in named}, **spec.config, name=name)


def require_named_weights(model: Any) -> None:
    """Raises SpecError where a user's layer has weights that could not be saved, started from the seed, or repeated."""
    problems = []
    for layer in model._flatten_layers():
        file = code_of(type(layer))
        if not file:
            continue
        where, name = file, type(layer).__name__
        if not layer.built:  # a rotation, which nothing builds
            layer.build()
            problems += [Problem(f"{name} has weights, and a rotation has none", where=where)] if layer.weights else []
        problems += [
            Problem(f"{name} does not build its layer {part.name}; call {part.name}.build() in build", where=where)
            for part in layer._flatten_layers(include_self=False)
            if not part.built
        ]
        problems += [
            Problem(f"{name} makes {weight.path.rpartition('/')[2]} without lmkit.layers.weights.add_weight", where=where)
            for weight in layer.weights
            if not hasattr(weight, "described")
        ]
        if len(layer.variables) > len(layer.weights):
            problems.append(Problem(f"{name} holds random state; draw by lmkit.layers.dropout, from row_key", where=where))
    if problems:
        raise SpecError(*dict.fromkeys(problems))
