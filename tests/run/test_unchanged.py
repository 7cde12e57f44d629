"""A run goes on with the data and the tokenizer that it was trained with, or says which file is another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints import own
from lmkit.data.cache import open_cache
from lmkit.data.spec import TextFiles
from lmkit.errors import CheckpointError, DataError
from lmkit.run.directory import RunDirectory
from lmkit.run.material import Material
from lmkit.run.unchanged import require_unchanged
from lmkit.text.build import train_tokenizer
from lmkit.text.spec import Character

SOURCES = {"train": "c/*.txt", "validation": "held.txt"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    monkeypatch.chdir(tmp_path)
    for name in ("run", "c"):
        (tmp_path / name).mkdir()
    for name, text in {"c/1.txt": "one", "c/2.txt": "two", "held.txt": "three"}.items():
        (tmp_path / name).write_text(text)
    return RunDirectory(tmp_path / "run")


def material(letters: str = "onetwhr") -> Material:
    tokenizer = train_tokenizer(Character(), [letters])
    caches = {name: open_cache(TextFiles(text=(glob,)), tokenizer, directory=Path("cache")) for name, glob in SOURCES.items()}
    batches: Any = None  # they are not looked at
    return Material(tokenizer, caches, batches, False)


def begin(run: RunDirectory) -> None:
    stuff = material()
    require_unchanged(run, stuff)
    facts = {"data": stuff.fingerprints, "tokenizer": stuff.tokenizer.hash}
    own.save(run.checkpoints, 1, model={"w": np.zeros(1)}, optimizer={}, state={}, facts=facts)


def test_the_same_data_go_on(run: RunDirectory) -> None:
    begin(run)
    before = (run.path / "data.json").read_bytes()
    require_unchanged(run, material())
    assert (run.path / "data.json").read_bytes() == before


def test_each_file_that_is_not_as_it_was_is_named_with_its_source(run: RunDirectory) -> None:
    begin(run)
    Path("c/1.txt").write_text("won")
    Path("c/2.txt").unlink()
    Path("c/3.txt").write_text("ten")
    Path("held.txt").write_text("threw")
    for _ in range(2):  # and again, when it is started again
        with pytest.raises(DataError) as error:
            require_unchanged(run, material())
        way = "bring back what there was, or set the run aside with --from-scratch"
        assert str(error.value).splitlines() == [
            f"c/1.txt: data.train: has changed since the run was trained on it; {way}",
            f"c/2.txt: data.train: is gone since the run was trained on it; {way}",
            f"c/3.txt: data.train: was not there when the run was trained; {way}",
            f"held.txt: data.validation: has changed since the run was trained on it; {way}",
        ]
    Path("c/1.txt").write_text("one")
    Path("c/3.txt").unlink()
    Path("c/2.txt").write_text("two")
    Path("held.txt").write_text("three")
    require_unchanged(run, material())


def test_data_that_were_moved_go_on_and_a_file_that_changed_on_the_way_is_named(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(run)
    new = run.path.parent / "elsewhere"
    new.mkdir()
    for name in ("c", "held.txt"):
        (run.path.parent / name).rename(new / name)
    monkeypatch.chdir(new)
    require_unchanged(run, material())
    Path("c/2.txt").write_text("won")
    with pytest.raises(DataError) as error:
        require_unchanged(run, material())
    assert [str(problem.where) for problem in error.value.problems] == ["c/2.txt"]


def test_of_many_files_the_first_are_named_and_where_none_is_known_the_source(run: RunDirectory) -> None:
    begin(run)
    for number in range(100, 120):
        Path(f"c/{number}.txt").write_text("ten")
    with pytest.raises(DataError, match="and 10 more files are not as they were"):
        require_unchanged(run, material())
    (run.path / "data.json").unlink()
    with pytest.raises(DataError, match=r"^data.train: gives other documents than those that the run was trained on; bring back"):
        require_unchanged(run, material())


def test_before_anything_is_saved_the_data_may_change(run: RunDirectory) -> None:
    require_unchanged(run, material())
    Path("c/1.txt").write_text("won")
    require_unchanged(run, material())
    begin(run)


def test_another_tokenizer_is_no_matter_of_the_data(run: RunDirectory) -> None:
    begin(run)
    with pytest.raises(CheckpointError, match=r"tokenizer.json: is not the tokenizer that the run was trained with"):
        require_unchanged(run, material("onetwhrs"))
