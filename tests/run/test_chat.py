"""Instruction and preference tuning from YAML alone: a run that answers, one that prefers, one that scores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lmkit.cli import main

NAMES = ["red", "green", "blue", "amber", "black", "white"]
CHATS = [{"i": f"Say {name}.", "o": f"{name}, {name}!"} for name in NAMES] * 3
PAIRS = [{"p": [{"role": "user", "content": f"Say {a}."}], "c": f"{a}, {a}!", "r": f"{b}, {b}!"} for a in NAMES for b in NAMES if a != b]
OPTIMIZER = {"kind": "adamw", "learning_rate": 3e-3}


def write(folder: Path, name: str, **words: Any) -> str:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, **words}))
    return str(path)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tuned run in it, and the data."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "chats.json").write_text(json.dumps(CHATS, indent=1))
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    spec = write(
        folder,
        "tuned",
        tokenizer={"kind": "bpe", "vocab_size": 300},
        data={
            "train": {"jsonl": str(folder / "chats.json"), "columns": {"prompt": "i", "response": "o"}},
            "chat_template": "chatml",
            "max_length": 96,
        },
        model={"kind": "decoder", "num_layers": 1, "hidden_size": 48, "num_heads": 4, "tie_embeddings": False},
        tasks={"chat": "causal_lm"},
        training={"steps": 150, "batch_size": 4, "optimizer": OPTIMIZER},
    )
    assert main(["train", spec, "--run-dir", str(folder / "tuned")]) == 0
    return folder


def preferring(home: Path, name: str, task: Any, file: str = "pairs.jsonl", **training: Any) -> list[str]:
    pairs = {"jsonl": str(home / file), "columns": {"prompt": "p", "chosen": "c", "rejected": "r"}}
    spec = write(
        home,
        name,
        data={"train": pairs, "validation": {"holdout": "20%"}, "max_length": 96},
        model={"from": str(home / "tuned")},
        tasks={"prefer": task},
        training={"steps": 20, "batch_size": 4, "evaluate_every": 10, "save_every": 5, "optimizer": OPTIMIZER, "precision": "float32"}
        | training,
    )
    return ["train", spec, "--run-dir", str(home / name)]


def points(run: Path, part: str, figure: str) -> list[float]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line[figure] for line in found if line["kind"] == part and figure in line]


def test_a_tuned_run_answers_and_ends_its_turn(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert (
        main(["generate", str(home / "tuned"), "--chat", "--greedy", "--json", "Say blue.", '[{"from": "human", "value": "Say red."}]'])
        == 0
    )
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["text"] for answer in answers] == ["blue, blue!", "red, red!"]
    assert {answer["reason"] for answer in answers} == {"end"}


def test_a_chat_without_a_template_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    debug = Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml"
    assert main(["train", str(debug), "--run-dir", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["generate", str(tmp_path / "run"), "--chat", "hello"]) == 2
    assert "data.chat_template: the tokenizer has no chat template" in capsys.readouterr().err


def test_preferences_begin_at_the_reference_and_come_to_prefer_the_better(home: Path) -> None:
    assert main(preferring(home, "dpo", {"kind": "dpo", "beta": 0.5}, steps=60)) == 0
    run = home / "dpo"
    assert points(run, "validation", "prefer/loss")[-1] < np.log(2)
    assert points(run, "validation", "prefer/margin")[-1] > 0
    assert points(run, "validation", "prefer/accuracy")[-1] > 0.5
    assert main(["generate", str(run), "--chat", "Say blue.", "--max-tokens", "3"]) == 0


def test_a_continued_run_reads_its_reference_and_ends_with_the_same_bits(home: Path) -> None:
    assert main(preferring(home, "whole", {"kind": "dpo"}, steps=10)) == 0
    assert main(preferring(home, "parts", {"kind": "dpo"}, steps=5)) == 0
    columns = sorted((home / "parts" / "reference").iterdir())
    assert [column.name.split("-")[:2] for column in columns] == [["train", "prefer"], ["validation", "prefer"]]
    times = [column.stat().st_mtime_ns for column in columns]
    assert main(preferring(home, "parts", {"kind": "dpo"}, steps=10)) == 0
    assert [column.stat().st_mtime_ns for column in columns] == times
    assert points(home / "parts", "validation", "prefer/loss")[-1] == points(home / "whole", "validation", "prefer/loss")[-1]


def test_a_lost_reference_is_computed_again_from_where_the_run_began(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(preferring(home, "lost", {"kind": "dpo"}, steps=5, evaluate_every=5)) == 0
    column = next((home / "lost" / "reference").glob("train-*"))
    before = column.read_bytes()
    column.write_bytes(before[:-8])
    assert main(preferring(home, "lost", {"kind": "dpo"}, steps=6, evaluate_every=5)) == 0
    assert "the reference is computed again" in capsys.readouterr().err
    assert column.read_bytes() == before


def test_preferences_are_evaluated_on_a_file_as_on_the_runs_own_rows(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = home / "dpo"
    if not run.exists():
        assert main(preferring(home, "dpo", {"kind": "dpo", "beta": 0.5})) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    own = json.loads(capsys.readouterr().out)["figures"]
    assert own["prefer/loss"] == pytest.approx(min(points(run, "validation", "prefer/loss")), abs=1e-5)
    assert main(["evaluate", str(run), "--data", str(home / "pairs.jsonl"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["prefer/margin"] > 0 and figures["prefer/loss"] < np.log(2)
    for answer in agreeing(home, run, capsys):
        assert set(answer["log_probabilities"]) == {"chosen", "rejected"}
    assert main(["predict", str(run), "--text", "hi"]) == 2
    assert '"hi": has no two answers to compare; give --input FILE' in capsys.readouterr().err


def test_a_model_that_learned_nothing_prefers_nothing_however_its_data_change(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (home / "pairs.jsonl").read_text().splitlines(keepends=True)
    other = home / "other.jsonl"
    other.write_text("".join(lines))
    still = {"kind": "adamw", "learning_rate": 1e-20}
    assert main(preferring(home, "still", {"kind": "dpo"}, "other.jsonl", steps=1, optimizer=still)) == 0
    for changed in (lines, lines[::-1], [*lines, lines[0] * 30]):
        other.write_text("".join(changed))
        capsys.readouterr()
        assert main(["evaluate", str(home / "still"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["figures"]["prefer/margin"] == pytest.approx(0, abs=1e-5)


def test_a_reward_scores_the_better_answer_higher(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(preferring(home, "reward", "reward", steps=60)) == 0
    assert points(home / "reward", "train", "prefer/accuracy")[-1] > 0.8
    capsys.readouterr()
    assert main(["predict", str(home / "reward"), "--text", "Say blue.", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out)["prefer"]["score"], float)
    agreeing(home, home / "reward", capsys)


def agreeing(home: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The answers to pairs, some of them longer than a row, which are worth what `evaluate` says."""
    long = [{"p": "Say " + "no more of " * n + pair["p"][0]["content"], "c": pair["c"] * n, "r": pair["r"] * n * 2}
            for n, pair in zip((1, 1, 4, 9), PAIRS, strict=False)]  # fmt: skip
    (home / "long.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in long))
    capsys.readouterr()
    assert main(["evaluate", str(run), "--data", str(home / "long.jsonl"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert main(["predict", str(run), "--input", str(home / "long.jsonl")]) == 0
    answers = [json.loads(line)["prefer"] for line in capsys.readouterr().out.splitlines()]
    margins = [answer["margin"] for answer in answers]
    assert said["figures"]["prefer/margin"] == pytest.approx(np.mean(margins), abs=1e-4)
    assert said["figures"]["prefer/accuracy"] == np.mean(np.array(margins) > 0)
    low, high = said["intervals"]["prefer/margin"]
    assert low <= said["figures"]["prefer/margin"] <= high
    for answer in answers:
        assert answer["margin"] == pytest.approx(answer["rewards"]["chosen"] - answer["rewards"]["rejected"])
        assert answer["preferred"] == ("chosen" if answer["margin"] > 0 else "rejected")
    return answers
