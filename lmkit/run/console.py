"""What a verb may use to talk to the user and to learn about the machine; built by cli.py, the only owner of print and os.environ."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Console:
    """Standard output and error, and the facts about the terminal that shape what is written there."""

    out: Callable[[str], None]  # one line to standard output
    err: Callable[[str], None]  # one line to standard error
    write: Callable[[str], None]  # text to standard output as it is, flushed
    lines: Callable[[], Iterable[str]] = tuple  # of standard input, as UTF-8
    is_terminal: bool = False  # standard output is a terminal
    width: int = 80  # columns
    environment: Mapping[str, str] = field(default_factory=dict)  # the process's environment variables
    quiet: Callable[[], AbstractContextManager[None]] = nullcontext  # around the import of TensorFlow, which talks to standard error
