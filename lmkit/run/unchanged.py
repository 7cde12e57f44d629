"""What a run that goes on must find as it was: its tokenizer, and every file of its data."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from lmkit.checkpoints.files import write_file
from lmkit.data.cache import Cache
from lmkit.data.spec import LONE
from lmkit.errors import CheckpointError, DataError, Problem
from lmkit.run.directory import RunDirectory
from lmkit.run.material import Material
from lmkit.training.checkpointing import newest_facts

FILES = "data.json"  # the files of each source, each with a hash of it
MOST = 10
WAY = "bring back what there was, or set the run aside with --from-scratch"


def require_unchanged(run: RunDirectory, stuff: Material) -> None:
    """Notes in the run's directory which files it reads. Raises CheckpointError where the run was trained with another tokenizer,
    DataError with the first ten files, or the sources, that are not as the run was trained on them.
    """
    trained = newest_facts(run.path)
    if trained.get("tokenizer", stuff.tokenizer.hash) != stuff.tokenizer.hash:
        raise CheckpointError(Problem(f"is not the tokenizer that the run was trained with; {WAY}", where=str(run.tokenizer)))
    problems = [
        problem
        for name, cache in stuff.caches.items()
        if "data" in trained and trained["data"].get(name) != cache.fingerprint
        for problem in _changes(run.path, name, cache)
    ]
    if problems:
        more = [Problem(f"and {len(problems) - MOST:,} more files are not as they were")] if len(problems) > MOST else []
        raise DataError(*problems[:MOST], *more)
    read = {name: dict(cache.read) for name, cache in stuff.caches.items()}
    if _noted(run.path) != read:
        write_file(run.path / FILES, json.dumps(read, indent=1) + "\n")


def _changes(path: Path, name: str, cache: Cache) -> list[Problem]:
    key = "data.train" if name == LONE else "data.validation" if name == "validation" else f"data.train.{name}"
    before, after = _noted(path).get(name, {}), cache.read
    if before and after and not before.keys() & after.keys():  # they were moved as a whole
        before = {_folder(after) + file.removeprefix(_folder(before)): content for file, content in before.items()}
    changed = [
        Problem(f"{'has changed' if file in after else 'is gone'} since the run was trained on it; {WAY}", key, _near(file))
        for file, content in before.items()
        if content != after.get(file)
    ]
    new = [Problem(f"was not there when the run was trained; {WAY}", key, _near(file)) for file in after if before and file not in before]
    return changed + new or [Problem(f"gives other documents than those that the run was trained on; {WAY}", key)]


def _folder(files: Iterable[str]) -> str:
    return os.path.commonpath([os.path.dirname(file) for file in files])


def _near(file: str) -> str:
    here = os.path.relpath(file)
    return file if here.startswith(os.pardir) else here


def _noted(path: Path) -> dict[str, dict[str, str]]:
    try:
        found: dict[str, dict[str, str]] = json.loads((path / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found
