"""Whether a model can be on this machine at all, judged before anything is built."""

from collections.abc import Iterator
from contextlib import suppress

from lmkit.engine.memory import machine_memory
from lmkit.errors import Problem
from lmkit.models.count import count
from lmkit.models.spec import FromRun
from lmkit.spec import parse_number
from lmkit.spec_file.spec import RunSpec
from lmkit.spec_file.tree import Node, dotted, leaves

BEYOND = 10**7  # no width, depth or vocabulary is so large: who writes it has slipped
BYTES = 16  # of a parameter in training: float32 weight, gradient, and two slots of the optimizer


def size_problem(spec: RunSpec, tree: Node) -> Problem | None:
    """Says so where the weights alone exceed the machine's memory: at the largest number of `tree` where that is beyond any
    model, else at the model. `spec` is resolved.
    """
    if isinstance(spec.model, FromRun):
        return None
    vocab_size = getattr(spec.tokenizer, "vocab_size", 0)
    parameters = sum(count(spec.model, vocab_size=vocab_size, max_length=spec.data.max_length).values())
    memory = machine_memory()
    if 4 * parameters <= memory:
        return None
    numbers = [found for found in _numbers(tree) if found[0] > BEYOND]
    _, key, where = max(numbers, default=(0, "model", tree.value["model"].key_at))
    what = (
        f"{parameters:.3g} parameters take {_bytes(4 * parameters)}, and about {_bytes(BYTES * parameters)} in training; "
        f"this machine has {_bytes(memory)}"
    )
    return Problem(what, key, where)


def _numbers(tree: Node) -> Iterator[tuple[int, str, str]]:
    """The numbers of model and tokenizer as they are written, with key and place."""
    for part in ("model", "tokenizer"):
        for path, node in leaves(tree.value.get(part, Node(None, "")), (part,)):
            with suppress(ValueError):
                number = parse_number(node.value)[0]
                if isinstance(number, int):
                    yield number, dotted(path), node.at


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} EB"
