"""What torch makes of a whole spec: a folder that lmkit opens and scores."""

import json
import runpy
from pathlib import Path

import pytest

from lmkit.cli import main

pytest.importorskip("torch")
pytest.importorskip("transformers")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "checkpoints" / "hub" / "folders" / "minilm_st"
SPEC = f"""\
name: parity
model: {{from: {FOLDER}, dropout: 0.3}}
data: {{train: {{jsonl: rows.jsonl, columns: {{text: text, text_pair: text_pair, label: label}}}}, max_length: 24}}
tasks: {{task: {{kind: classification, labels: ["no", "yes"], dropout: 0.2}}}}
training: {{epochs: 2, batch_size: 8, optimizer: {{kind: adamw, learning_rate: {{kind: linear, peak: 1e-3, warmup: 20%}}, clip_norm: 1.0}}}}
"""
TOOL = runpy.run_path(str(ROOT / "tools" / "parity.py"))


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"text": f"the answer is {i}", "text_pair": f"is it {i % 3}", "label": "yes" if i % 2 else "no"} for i in range(16)]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("spec.yaml").write_text(SPEC)


def test_the_folder_that_torch_trained_is_evaluated_by_lmkit(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert len(TOOL["trained"](Path("spec.yaml"), [], Path("folder"), tmp_path / "work")) == 4  # two epochs of 16 records by 8
    config = json.loads(Path("folder/config.json").read_text())
    assert (config["hidden_dropout_prob"], config["id2label"]) == (0.3, {"0": "no", "1": "yes"})
    capfd.readouterr()
    columns = ["--columns", "text=text,text_pair=text_pair,label=label"]
    assert main(["evaluate", "folder", "--data", "rows.jsonl", "--task", "classification", *columns, "--json"]) == 0
    assert 0 <= json.loads(capfd.readouterr().out)["figures"]["classification/accuracy"] <= 1


def test_torch_has_the_dropouts_of_the_spec(tmp_path: Path) -> None:
    model = TOOL["opened"](TOOL["start_of"](Path("spec.yaml"), TOOL["STARTING"], tmp_path / "work"))
    rates = {(name.startswith("bert."), module.p) for name, module in model.named_modules() if type(module).__name__ == "Dropout"}
    assert rates == {(True, 0.3), (False, 0.2)}
