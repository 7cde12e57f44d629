"""The base of every spec class: frozen and strict, numbers with units, scalars short for `{kind: scalar}`."""

import re
from collections.abc import Callable, Iterable, Iterator
from keyword import iskeyword
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import core_schema

LARGEST = 10**15  # no count of a spec is larger
SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]+))?(?:e([-+]?[0-9]{1,3}))?\s*([kMBT]?)(?:\s+([a-z]+))?$")


class Spec(BaseModel):
    """A frozen, strict branch of the spec: unknown keys are errors and nothing is cast silently."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, defer_build=True)

    def rules(self) -> Iterator[Callable[[], Iterable[tuple[str, str]]]]:
        """The rules between this branch's own keys: its methods called `rule_...`, in the order they are written.

        A rule yields `(key, what)`, the key dotted and relative to this branch (`"hidden_size"`, `"position.1"`). Types are right
        already. Rules are apart from each other so that one whose keys are unusable leaves the others standing.
        """
        for cls in reversed(type(self).__mro__):
            yield from (getattr(self, name) for name in vars(cls) if name.startswith("rule_"))

    def problems(self) -> Iterator[tuple[str, str]]:
        """What all rules have to say."""
        for rule in self.rules():
            yield from rule()

    def warnings(self) -> Iterator[tuple[str, str]]:
        """Yields `(key, what)` for what is allowed but rarely meant."""
        yield from ()


def attribute(key: str) -> str:
    """The Python name of a key that may be a word of Python's: `from` is `from_`."""
    return f"{key}_" if iskeyword(key) else key


def parse_number(value: Any, units: tuple[str, ...] = ()) -> tuple[Any, str]:
    """`"20k steps"` -> `(20000, "steps")`; what is no text passes through with unit `""`.

    Raises ValueError for a text that is no number with a suffix of k, M, B, T and a unit of `units`.
    """
    if not isinstance(value, str):
        return value, ""
    match = NUMBER.match(value.strip())
    unit = (match.group(5) or "") if match else ""
    singular = {u.rstrip("s"): u for u in units}
    if not match or (unit and unit.rstrip("s") not in singular):
        raise ValueError(f"expected a number{' of ' + ' or '.join(units) if units else ''}")
    whole, decimals, exponent, suffix, _ = match.groups()
    power = int(exponent or 0) - len(decimals or "")
    digits = int(whole + (decimals or "")) * SUFFIXES[suffix]
    number = digits * 10**power if power >= 0 else digits // 10**-power if digits % 10**-power == 0 else digits / 10**-power
    return number, singular.get(unit.rstrip("s"), "")


def _count(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number = parse_number(value)[0] if NUMBER.match(value.strip()) else value
    if value.strip().isdigit() or not isinstance(number, int):
        raise ValueError("expected a whole number")
    return number


def _fraction(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            return float(value.strip()[:-1]) / 100
        except ValueError:
            raise ValueError("expected a fraction such as 0.15 or 15%") from None
    return value


Count = Annotated[
    int,
    BeforeValidator(_count),
    Field(ge=1, le=LARGEST),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^[0-9.]+ *[kMBT]$"}]}),
]
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[0-9.]+ *%$"}]}),
]
Rate = Annotated[Fraction, Field(ge=0, lt=1)]

Unit = Literal["steps", "epochs", "tokens", "minutes", "fraction"]


class Amount(Spec):
    """So much of something: `1k steps`, `2 epochs`, `10 minutes`, `6%` (a fraction of the whole run)."""

    value: float = Field(ge=0)
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "fraction":
            percent = f"{self.value * 100:g}%"
            return percent if float(percent[:-1]) / 100 == self.value else repr(self.value)
        return f"{int(self.value) if float(self.value).is_integer() else self.value} {self.unit}"


def units(*allowed: Unit) -> Any:
    """Marks a key of type Amount with the units it takes; a bare number counts in the first of them."""

    def parse(value: Any) -> Any:
        if isinstance(value, Amount):
            return value
        if isinstance(value, str) and value.strip().endswith("%") and "fraction" in allowed:
            share = _fraction(value)
            if not 0 <= share <= 1:
                raise ValueError("expected 0% to 100%")
            return Amount(value=share, unit="fraction")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"expected a number of {' or '.join(allowed)}")
        if isinstance(value, str) and value.strip().isdigit():
            raise ValueError("expected a number without quotes, or with a unit")
        number, unit = parse_number(value, tuple(u for u in allowed if u != "fraction"))
        if number < 0:
            raise ValueError("expected a number of 0 or more")
        if not unit and 0 < number < 1 and "fraction" in allowed:
            unit = "fraction"
        return Amount.model_validate({"value": float(number), "unit": unit or allowed[0]})

    return BeforeValidator(parse, json_schema_input_type=str | int | float)


class Also:
    """A second way to write a key: `parse` turns it into the first before validation, `schema` says in JSON Schema what it is.

    `schema` is given the JSON Schema of the first way.
    """

    def __init__(self, parse: Callable[[Any], Any], schema: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> None:
        self.parse = parse
        self.schema = schema

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_before_validator_function(self.parse, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        first = handler(schema)
        return {"anyOf": [first, self.schema(first)]} if self.schema else first


def short(key: str = "kind") -> Also:
    """Lets a scalar stand for the mapping `{key: scalar}`."""

    def parse(value: Any) -> Any:
        return {key: value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value

    return Also(parse, lambda first: {"enum": list(first.get("discriminator", {}).get("mapping", ()))})


def _items(value: Any) -> tuple[Any, ...]:
    if value in ([], ()):
        raise ValueError("expected an item, or a list of one or more")
    return tuple(value) if isinstance(value, list | tuple) else (value,)


# A key that takes a list, and one that takes an item or a list; both hold tuples.
LISTED = Also(lambda v: tuple(v) if isinstance(v, list) else v)
ONE_OR_MORE = Also(_items, lambda first: first["items"])


def _usable_path(value: str) -> str:
    if not value.strip():
        raise ValueError("expected a path")
    if "\0" in value:
        raise ValueError("expected a path without NUL")
    if re.search(r"\$[A-Za-z_{(]", value):
        raise ValueError("environment variables are not expanded; write the path out (~ is your home)")
    return value


# A file or folder, relative to the working directory; `~` is the home.
PathText = Annotated[str, AfterValidator(_usable_path)]

# A name the user gives to a task or a source: part of variable paths, file names and TensorBoard tags.
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
