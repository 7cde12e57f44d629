"""The extra set on real data: LMKIT_SHARED names the folder that holds `unpack`; .ci/run runs it where that folder is."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from lmkit.cli import main

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "model_configs" / "recipes"
SETS = ("tiny_shakespeare", "gutenberg_books", "chinese_tang_poems", "sst2")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("shared")
    unpack = Path(os.environ["LMKIT_SHARED"]).resolve() / "unpack"
    (home / "data").mkdir()
    subprocess.run([str(unpack), str(home / "data"), *SETS], check=True)
    return home


@pytest.fixture(autouse=True)
def there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


@pytest.mark.parametrize("recipe", ["shakespeare-char", "gutenberg-bert", "tang-poems"])
def test_all_data_of_a_recipe_are_read_and_shown(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", str(RECIPES / f"{recipe}.yaml")]) == 0
    assert "documents" in capsys.readouterr().out


def test_shakespeare_is_learned_far_below_its_unigram_entropy() -> None:
    spec, short = str(RECIPES / "shakespeare-char.yaml"), ["training.steps=300", "training.evaluate_every=300 steps"]
    assert main(["train", spec, "--run-dir", "runs/shakespeare", *short]) == 0
    last = json.loads(Path("runs/shakespeare/metrics.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "validation"
    assert last["lm/loss"] < 2.6 < last["lm/unigram_entropy"], "2.4 after 300 steps, 3.32 without context"
