"""The door of custom parts: a user's class, of a file that run/ has run, becomes a layer."""

import inspect
import sys
from typing import Any

from lmkit.errors import Problem, SpecError
from lmkit.layers.spec import Custom


def module_of(sha256: str) -> str:
    """The name under which the code of a file with this checksum stands among Python's modules."""
    return f"lmkit_code_{sha256}"


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
