"""The words of a custom part: a class in the user's own Python file, and what it is made with."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from lmkit.spec import PathText, Spec


def _names_a_class(value: str) -> str:
    file, _, name = value.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ValueError("expected a Python file and a class in it, file.py:Class")
    return value


def _checksum(value: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("expected a SHA-256 checksum, or nothing: lmkit fills it in")
    return value


class Custom(Spec):
    """A class of your own; docs/extend.md says what it must look like. It is run with --allow-code only."""

    kind: Literal["custom"] = "custom"
    class_: Annotated[PathText, AfterValidator(_names_a_class)] = Field(
        alias="class",
        examples=["my_layers.py:GatedUnit"],
        description="`file.py:Class`, the file relative to the spec that names it.",
    )
    config: dict[str, Any] = Field(default_factory=dict, description="Keywords of the class's constructor.")
    sha256: Annotated[str, AfterValidator(_checksum)] | None = Field(
        None, description="Checksum of the file; lmkit fills it in, so that a changed file is a changed spec."
    )

    base: ClassVar[str] = "lmkit.layers.layer.Layer"  # what the class derives from
    methods: ClassVar[tuple[str, ...]] = ("build", "call")  # what it must have beside what its base has
    given: ClassVar[tuple[str, ...]] = ()  # keywords that lmkit passes to a constructor that names them
    needed: ClassVar[tuple[str, ...]] = ()  # those of them that it must name

    @property
    def file(self) -> str:
        """The Python file."""
        return self.class_.rpartition(":")[0]

    @property
    def class_name(self) -> str:
        """The class in it."""
        return self.class_.rpartition(":")[2]
