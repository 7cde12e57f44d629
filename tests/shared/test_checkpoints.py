"""All shared checkpoints of text models against their references, and those of other options that transformers makes here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from check_checkpoint import check

OTHERS = {"vit", "clip", "wav2vec2", "whisper"}  # they read images and sound


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("checkpoints")
    subprocess.run([str(Path(os.environ["LMKIT_SHARED"]).resolve() / "unpack"), str(home), "hf_fixtures"], check=True)
    found = sorted(path.parent for path in home.glob("**/reference.npz"))
    return [path for path in found if json.loads((path / "config.json").read_text())["model_type"] not in OTHERS]


def test_every_shared_checkpoint_gives_its_reference(folders: list[Path]) -> None:
    assert len(folders) > 30
    assert [failure for path in folders for failure in check(path).failures] == []


def test_checkpoints_of_other_options_give_what_transformers_makes_of_them(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    make = pytest.importorskip("make_checkpoints")
    for name, case in make.CASES.items():
        make.write(name, case, tmp_path)
    assert [failure for path in sorted(tmp_path.iterdir()) for failure in check(path).failures] == []
