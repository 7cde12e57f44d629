"""The sandbox that chat templates run in: what transformers' environment has for them, and an end to each of them."""

import json
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Noncharacters of Unicode, which stand in no text: around what `{% generation %}` holds.
OPEN, CLOSE = "\ufdd0", "\ufdd1"
STEPS = 1_000_000  # turns of loops and calls in one rendering
LARGEST = 2**24  # the largest product of numbers, characters that a text several times over has, bits of a power


class Template:
    """A template's Jinja text, ready to be rendered. Raises jinja2.TemplateSyntaxError where it is none."""

    def __init__(self, source: str) -> None:
        self._environment = _Bounded(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
        self._template = self._environment.from_string(source)

    def render(self, **words: Any) -> str:
        """The text; raises whatever the template does wrong, jinja2.TemplateError where it takes too many steps."""
        self._environment.left = STEPS
        return self._template.render(**words)


class _Bounded(ImmutableSandboxedEnvironment):
    """Counts the turns of loops and the calls of a template, and refuses to multiply without bounds."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.left = STEPS
        self.filters |= {"tojson": _as_json, "counted": self._counted}
        self.globals |= {"raise_exception": _refuse, "dict": lambda *args, **words: dict(*args, **words)}
        del self.globals["lipsum"]

    def _generate(self, source: nodes.Template, *arguments: Any, **options: Any) -> str:
        for loop in source.find_all(nodes.For):
            loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
        return super()._generate(source, *arguments, **options)

    def call(self, context: Any, called: Any, *arguments: Any, **words: Any) -> Any:  # type: ignore[override]
        self._spend(1)
        if isinstance(called, LoopContext):  # `loop(children)` of a recursive loop
            arguments = tuple(map(self._counted, arguments))
        return super().call(context, called, *arguments, **words)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        base = left.bit_length() if operator == "**" and isinstance(left, int) else _extent(left)
        if base * _extent(right) > LARGEST:
            _refuse(f"{operator} would make more than {LARGEST:,}")
        return super().call_binop(context, operator, left, right)

    def _counted(self, items: Any) -> list[Any]:
        found = list(items)
        self._spend(len(found))
        return found

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            _refuse(f"it takes more than {STEPS:,} steps")


def _extent(value: Any) -> int:
    return abs(value) if isinstance(value, int) else len(value) if hasattr(value, "__len__") else 1


class _Generation(Extension):
    """`{% generation %} ... {% endgeneration %}`: what the model itself is to write."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_marked"), [], [], body).set_lineno(line)

    def _marked(self, caller: Any) -> str:
        return f"{OPEN}{caller()}{CLOSE}"


def _as_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: tuple[str, str] | None = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
