"""Whether a model can be on this machine at all, judged before anything is built."""

from lmkit.engine.memory import machine_memory
from lmkit.models.count import count
from lmkit.models.spec import FromRun
from lmkit.spec_file.spec import RunSpec

BYTES = 16  # of a parameter in training: float32 weight, gradient, and two slots of the optimizer


def size_problem(spec: RunSpec) -> str:
    """A sentence where the weights alone exceed the machine's memory, else nothing. The spec is resolved."""
    if isinstance(spec.model, FromRun):
        return ""
    vocab_size = getattr(spec.tokenizer, "vocab_size", 0)
    parameters = sum(count(spec.model, vocab_size=vocab_size, max_length=spec.data.max_length).values())
    memory = machine_memory()
    if 4 * parameters <= memory:
        return ""
    return (
        f"{parameters:.3g} parameters take {_bytes(4 * parameters)}, and about {_bytes(BYTES * parameters)} in training; "
        f"this machine has {_bytes(memory)}"
    )


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} EB"
