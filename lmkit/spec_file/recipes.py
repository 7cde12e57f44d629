"""The specs that ship with lmkit, by name."""

from pathlib import Path

from lmkit.errors import Problem, SpecError
from lmkit.spec_file.words import nearest

FOLDER = Path(__file__).parents[1] / "model_configs"


def recipes() -> dict[str, Path]:
    """`quickstart` -> its file, in alphabetical order; those in folders below come last."""
    found = sorted(FOLDER.glob("*.yaml")) + sorted(FOLDER.glob("*/*.yaml"))
    return {path.stem: path for path in found}


def recipe(name: str) -> Path:
    """The file of a shipped spec; raises SpecError naming the nearest ones."""
    known = recipes()
    if name not in known:
        near = nearest(name, known)
        meant = f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(known)}"
        raise SpecError(Problem(f"{name} is no shipped spec and no file{meant}", where="command line"))
    return known[name]


def headline(path: Path) -> str:
    """The first comment line of a shipped spec."""
    return path.read_text(encoding="utf-8").split("\n", 1)[0].lstrip("# ")
