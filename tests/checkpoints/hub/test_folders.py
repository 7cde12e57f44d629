"""Real layouts of Hugging Face folders: every point that a family must show, on checkpoints that lie beside this file."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))

from check_checkpoint import check

FOLDERS = sorted(path for path in (Path(__file__).parent / "folders").iterdir())


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_a_folder_gives_its_reference_and_is_written_again_byte_for_byte(path: Path) -> None:
    assert check(path).failures == []
