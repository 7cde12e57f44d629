"""The examples of docs/extend.md, run: each part keeps its contract, is trained, goes on, is read from its run, and lent to another."""

import json
import re
import shutil
from pathlib import Path

import pytest

from lmkit.checkpoints import own
from lmkit.cli import main
from lmkit.run.contract import CHECKS
from lmkit.run.metric_contract import METRIC_CHECKS

PAGE = (Path(__file__).parents[1] / "docs" / "extend.md").read_text(encoding="utf-8")
FILES = {name: text for name, text in re.findall(r"^```\w+\n# (\S+\.(?:py|yaml))\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)}
PARTS = [name for name in FILES if name.endswith(".yaml") and name != "small.yaml"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("extend")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    rows = [f"{'a fine list' if i % 2 else 'one more error'},{'good' if i % 2 else 'bad'}" for i in range(40)]
    (folder / "reviews.csv").write_text("text,stars\n" + "\n".join(rows) + "\n")
    return folder


def lmkit(*arguments: str) -> int:
    return main(list(arguments))


def test_there_is_an_example_for_every_room() -> None:
    assert PARTS == ["head.yaml", "metric.yaml", "feed_forward.yaml", "norm.yaml", "position.yaml", "attention.yaml"]


def test_the_page_tells_the_whole_contract() -> None:
    page = " ".join(PAGE.split())
    assert [check.__name__ for check in (*CHECKS, *METRIC_CHECKS) if check.__name__.replace("_", " ") not in page] == []


@pytest.mark.parametrize("name", PARTS)
def test_an_example_keeps_the_contract_of_its_room(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    assert lmkit("check", name, "--strict") == 0
    assert lmkit("check", name, "--allow-code") == 0


@pytest.mark.parametrize("name", PARTS)
def test_an_example_is_trained_resumed_and_read_again(
    home: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)
    straight, halved = f"runs/{name}-straight", f"runs/{name}-halved"
    assert lmkit("train", name, "--run-dir", straight) == 2
    assert lmkit("train", name, "--allow-code", "--run-dir", straight) == 0
    for steps in ("2", "4"):
        assert lmkit("train", name, "--allow-code", "--run-dir", halved, f"training.steps={steps}") == 0
    one, other = own.load(home / straight / "checkpoints"), own.load(home / halved / "checkpoints")
    assert one is not None and other is not None
    assert {name: value.tobytes() for name, value in one.model.items()} == {name: value.tobytes() for name, value in other.model.items()}
    capsys.readouterr()
    shutil.move(straight, f"runs/{name}")
    assert lmkit("evaluate", f"runs/{name}", "--json", "--allow-code") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["loss"] > 0
    assert ("stars/custom.WeightedKappa" in found["figures"].keys() & found["intervals"].keys()) == (name == "metric.yaml")
    verb = ["predict", "--text", "a list"] if name in ("head.yaml", "metric.yaml") else ["generate", "The", "--max-tokens", "4"]
    asked = [verb[0], f"runs/{name}", *verb[1:]]
    assert lmkit(*asked) == 2
    assert lmkit(*asked, "--allow-code") == 0


def test_a_body_of_custom_parts_is_lent_to_another_run_with_its_code(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    if not (home / "runs" / "attention.yaml").exists():
        assert lmkit("train", "attention.yaml", "--allow-code", "--run-dir", "runs/attention.yaml") == 0
    kept = [line for line in FILES["small.yaml"].splitlines() if not line.startswith(("model", "tokenizer"))]
    (home / "lent.yaml").write_text("\n".join([*kept, "model: {from: runs/attention.yaml}"]))
    assert lmkit("train", "lent.yaml", "--run-dir", "runs/lent") == 2
    assert lmkit("train", "lent.yaml", "--allow-code", "--run-dir", "runs/lent") == 0
    assert (home / "runs" / "lent" / "code" / "my_attention.py").read_text() == FILES["my_attention.py"]
    (home / "runs" / "attention.yaml").rename(home / "runs" / "gone")
    assert lmkit("evaluate", "runs/lent", "--allow-code") == 0
    assert lmkit("export", "runs/lent", "folder") == 4
