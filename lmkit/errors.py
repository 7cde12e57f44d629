"""What can go wrong for a user, each kind with the exit code that every verb shares."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One line for the user: `where: key: what`; `where` is `file:line:column` as far as it is known."""

    what: str
    key: str = ""
    where: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.key, self.what) if part)

    def as_dict(self) -> dict[str, str | int]:
        """For tools: the same with file, line and column apart."""
        parts = self.where.rsplit(":", 2)
        place: dict[str, str | int] = {"where": self.where}
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            place |= {"file": parts[0], "line": int(parts[1]), "column": int(parts[2])}
        return {**place, "key": self.key, "what": self.what}


class LmkitError(Exception):
    """Base of every expected failure: it carries problems to print, never a traceback."""

    exit_code = 70

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(map(str, self.problems)))


class SpecError(LmkitError):
    """The spec or the command line is wrong."""

    exit_code = 2


class DataError(LmkitError):
    """A data file is wrong, absent, or gives nothing to train on."""

    exit_code = 3


class CheckpointError(LmkitError):
    """A checkpoint or model file is absent, damaged, or of another model."""

    exit_code = 4


class MachineError(LmkitError):
    """Device, disk, lock, port or installed software stands in the way."""

    exit_code = 5


class OutOfMemory(MachineError):
    """A device has not the memory that a step takes."""


class NumericsError(LmkitError):
    """Loss or gradients stopped being finite."""

    exit_code = 6


class Interrupted(LmkitError):
    """Stopped on request with everything saved: the same command continues."""

    exit_code = 75
