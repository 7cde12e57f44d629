"""A whole life of a run, as the user lives it: train, stop, go on, evaluate, predict, generate, fine-tune."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmkit.cli import main
from lmkit.run.directory import RunDirectory

ROOT = Path(__file__).parents[2]
DECODER, ENCODER = (str(ROOT / "model_configs" / f"debug-{kind}.yaml") for kind in ("decoder", "encoder"))
CLOCK = {"tokens_per_second", "peak_share", "seconds"}


def lmkit(*arguments: str) -> int:
    return main(list(arguments))


def tensors(run: Path) -> dict[str, np.ndarray]:
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    return {name: value for file in sorted(newest.glob("*.safetensors")) for name, value in load_file(file).items()}


def series(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in CLOCK} for line in lines]


def same(one: Path, other: Path) -> None:
    a, b = tensors(one), tensors(other)
    assert a.keys() == b.keys()
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert series(one) == series(other)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def decoder(home: Path) -> Path:
    run = home / "decoder"
    assert lmkit("train", DECODER, "--run-dir", str(run)) == 0
    return run


@pytest.fixture(scope="module")
def encoder(home: Path) -> Path:
    run = home / "encoder"
    assert lmkit("train", ENCODER, "--run-dir", str(run)) == 0
    return run


def test_a_run_directory_holds_all_that_the_run_is(decoder: Path) -> None:
    found = {path.name for path in decoder.iterdir()}
    assert {"spec.yaml", "resolved.yaml", "tokenizer.json", "checkpoints", "best", "tensorboard", "metrics.jsonl", "report.md"} <= found
    assert (decoder / "spec.yaml").read_text() == Path(DECODER).read_text()
    losses = [line["loss"] for line in series(decoder) if line["kind"] == "train"]
    assert len(losses) == 20 and losses[-1] < losses[0]


def test_a_run_with_evaluations_and_samples_compiles_each_of_its_functions_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lmkit.engine import tensorflow as engine

    made: list[engine.Compiled] = []
    build = engine.Compiled.__init__

    def noted(self: engine.Compiled, *arguments: Any, **options: Any) -> None:
        build(self, *arguments, **options)
        made.append(self)

    monkeypatch.setattr(engine.Compiled, "__init__", noted)
    assert lmkit("train", DECODER, "--run-dir", str(home / "counted"), "training.evaluate_every=5 steps") == 0
    assert [one.compilations for one in made] == [1, 1, 1, 1], "the step, the evaluation, and reading and drawing of samples"


def test_a_finished_run_is_left_alone(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = series(decoder)
    assert lmkit("train", DECODER, "--run-dir", str(decoder)) == 0
    assert "already finished" in capsys.readouterr().out
    assert series(decoder) == before


def test_another_spec_is_refused_key_by_key(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lmkit("train", DECODER, "--run-dir", str(decoder), "model.hidden_size=48") == 2
    said = capsys.readouterr().err
    assert "model.hidden_size" in said and "32" in said and "48" in said and "--from-scratch" in said


def test_a_longer_run_goes_on_from_the_shorter_one(decoder: Path, home: Path) -> None:
    short, straight = home / "short", home / "straight"
    alike = ("training.optimizer.learning_rate=1e-3", "training.precision=float32", "training.evaluate_every=4 steps")
    assert lmkit("train", DECODER, "--run-dir", str(short), *alike, "training.steps=8") == 0
    assert lmkit("train", DECODER, "--run-dir", str(short), *alike, "training.steps=16") == 0
    assert lmkit("train", DECODER, "--run-dir", str(straight), *alike, "training.steps=16") == 0
    same(short, straight)


def start(spec: str, run: Path, *overrides: str, stderr: int = subprocess.STDOUT) -> subprocess.Popen[str]:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    command: Sequence[str] = [sys.executable, "-m", "lmkit.cli", "train", spec, "--run-dir", str(run), *overrides]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)


def test_sigterm_saves_and_the_same_command_goes_on_to_the_same_bits(home: Path) -> None:
    more = (
        "training.steps=160",
        "training.evaluate_every=40 steps",
        "training.precision=float32",
        "runtime.steps_per_call=1",
        "training.ema=0.9",
    )
    straight, stopped = home / "unstopped", home / "stopped"
    process = start(ENCODER, stopped, *more)
    while (
        process.poll() is None
        and len((stopped / "metrics.jsonl").read_text().splitlines() if stopped.exists() and (stopped / "metrics.jsonl").exists() else "")
        < 8
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert "the same command continues" in said and "SIGTERM" in said
    assert lmkit("train", ENCODER, "--run-dir", str(stopped), *more) == 0
    assert lmkit("train", ENCODER, "--run-dir", str(straight), *more) == 0
    same(stopped, straight)


def test_evaluation_and_all_that_reads_a_checkpoint_take_the_average(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exact = ("training.precision=float32", "logging.samples=[]")
    curves = []
    for run, *ema in ((home / "plain",), (home / "averaged", "training.ema=0.9")):
        assert lmkit("train", DECODER, "--run-dir", str(run), *exact, *ema) == 0
        curves.append({kind: [line["loss"] for line in series(run) if line["kind"] == kind] for kind in ("train", "validation")})
    plain, averaged = curves
    assert averaged["train"] == pytest.approx(plain["train"], rel=1e-5)
    assert averaged["validation"][-1] > 1.0005 * plain["validation"][-1], "averages lag behind"
    capsys.readouterr()
    assert lmkit("evaluate", str(home / "averaged"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["loss"] == pytest.approx(min(averaged["validation"]), rel=1e-4)


def test_a_run_in_which_nothing_happens_for_too_long_says_where_it_stands_and_goes_on_when_started_again(home: Path) -> None:
    run = home / "hanging"
    process = start(DECODER, run, "runtime.hang_minutes=1e-6")  # which is over before the first step is compiled
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75 and "hang.txt says where every thread stands; the same command continues" in said, said
    assert "lmkit/run/session.py" in (run / "hang.txt").read_text()
    assert lmkit("train", DECODER, "--run-dir", str(run), "runtime.hang_minutes=never") == 0


def test_a_run_that_is_moved_while_it_trains_ends_and_goes_on_where_it_is(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, elsewhere = home / "moved", home / "elsewhere"
    note = RunDirectory.note

    def moving(self: RunDirectory, **facts: Any) -> None:
        note(self, **facts)
        if facts.get("saved") == 4 and self.path == run:
            run.rename(elsewhere)

    monkeypatch.setattr(RunDirectory, "note", moving)
    assert lmkit("train", DECODER, "training.save_every=4 steps", "--run-dir", str(run)) == 5
    assert "was moved or deleted while it was in use" in capsys.readouterr().err and not run.exists()
    assert lmkit("train", DECODER, "training.save_every=4 steps", "--run-dir", str(elsewhere)) == 0
    assert "going on from step 4" in capsys.readouterr().err


def test_output_that_nobody_reads_any_more_stops_with_everything_saved(home: Path) -> None:
    run = home / "unread"
    process = start(DECODER, run, "training.steps=100k", "training.save_every=100k steps", stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline().startswith("step ")
    process.stdout.close()
    said = process.stderr.read()
    assert process.wait(timeout=60) == 75, said
    assert said.splitlines()[-1].endswith("the same command continues") and "Broken" not in said
    newest = max(path.name for path in (run / "checkpoints").glob("step-*"))
    assert f"stopped after step {int(newest.removeprefix('step-'))} of" in said


def test_a_run_that_diverges_goes_back_and_then_ends_with_its_good_state_and_what_is_known(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, more = (
        home / "diverging",
        ("training.optimizer.learning_rate=100", "training.optimizer.clip_norm=off", "training.save_every=2 steps"),
    )
    policy = "training.non_finite={kind: rollback, steps: 2, at_most: 1}"
    spec = home / "diverging.yaml"
    spec.write_text(Path(DECODER).read_text().replace("adamw", "sgd"))
    assert lmkit("train", str(spec), "--run-dir", str(run), *more, policy) == 6
    said = capsys.readouterr().err
    assert said.count("going on from step") == 1 and "at_most = 1 rollbacks are used up" in said
    report = json.loads((run / "nan-report.json").read_text())
    newest = max(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    assert newest == report["step"] - 1 and len(report["documents"]) == 4
    assert report["first_not_finite"].startswith("gradient of ")
    assert all(np.isfinite(value).all() for value in tensors(run).values())
    assert [line["step"] for line in series(run) if line["kind"] == "train"] == list(range(1, report["step"]))
    assert lmkit("train", str(spec), "--run-dir", str(run), *more, "training.non_finite={kind: skip, at_most: 20}") == 0
    assert [line for line in series(run) if line["kind"] == "train"][-1]["skipped_steps"] > 0
    assert "training.non_finite.kind" in capsys.readouterr().err


def test_a_run_whose_data_were_wrong_takes_the_corrected_spec(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--run-dir", str(home / "corrected"), "training.steps=10")
    assert lmkit("train", DECODER, *few, "data.train={text: absent.txt}") == 3
    assert lmkit("train", DECODER, *few) == 0
    assert "nothing was trained here yet" in capsys.readouterr().err


def test_evaluate_repeats_the_last_validation(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lmkit("evaluate", str(decoder), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    best = min((line for line in series(decoder) if line["kind"] == "validation"), key=lambda line: line["loss"])
    assert found["step"] == best["step"]
    assert found["figures"]["loss"] == pytest.approx(best["loss"], rel=2e-2 if found["figures"] else 0)
    assert found["figures"]["lm/bits_per_byte"] > 0


def test_generate_continues_prompts_reproducibly(decoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def once() -> str:
        assert lmkit("generate", str(decoder), "The with statement", "--max-tokens", "12", "--seed", "3") == 0
        return capsys.readouterr().out

    first = once()
    assert first == once() and len(first) > len("The with statement")


def test_predict_fills_masks(encoder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lmkit("predict", str(encoder), "--text", "the value of the [MASK] is a list.", "--json") == 0
    answer = json.loads(capsys.readouterr().out)["mlm"]
    assert len(answer["masks"]) == 1 and "[MASK]" not in answer["filled"]
    shares = [found["probability"] for found in answer["masks"][0]]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    assert lmkit("predict", str(encoder), "--text", "no place to fill") == 2
    assert "[MASK]" in capsys.readouterr().err


def reviews(path: Path, rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    words = {"good": ["list", "tuple", "value", "class"], "bad": ["error", "raise", "except", "delete"]}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "stars"])
        for _ in range(rows):
            label = ("good", "bad")[generator.integers(2)]
            writer.writerow([" ".join(generator.choice(words[label], 6)), label])


def test_an_encoder_is_fine_tuned_to_classify(
    encoder: Path, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews(home / "train.csv", 200, 0)
    reviews(home / "dev.csv", 40, 1)
    spec = home / "reviews.yaml"
    spec.write_text(f"""
name: reviews
model: {{from: {encoder}, freeze: [embeddings]}}
data:
  train: {{csv: {home}/train.csv, columns: {{text: body, label: stars}}}}
  validation: {{csv: {home}/dev.csv, columns: {{text: body, label: stars}}}}
  max_length: 16
tasks:
  stars: {{kind: classification, labels: auto, pooling: first, metrics: [accuracy, f1]}}
training:
  epochs: 8
  batch_size: 16
  optimizer: {{kind: adamw, learning_rate: {{kind: cosine, peak: 3e-3, warmup: 10%}}, layer_decay: 0.9}}
  early_stopping: {{monitor: stars/f1, patience: 8}}
""")
    run = home / "reviews"
    assert lmkit("train", str(spec), "--run-dir", str(run)) == 0
    said = capsys.readouterr().err
    assert "heads dropped: mlm, nsp" in said and "heads new: stars" in said
    base, tuned = tensors(encoder), tensors(run)
    assert np.array_equal(base["embeddings.token.embedding"], tuned["embeddings.token.embedding"]), "frozen"
    assert not any(name.startswith("embeddings.") and "/" in name for name in tuned), "frozen weights have no slots"
    assert not np.array_equal(base["encoder.layers.0.attention.query.kernel"], tuned["encoder.layers.0.attention.query.kernel"])
    assert lmkit("evaluate", str(run), "--json") == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["stars/accuracy"] > 0.9 and figures["stars/f1"] > 0.9

    whole, part = home / "out.jsonl", home / "part.csv"
    assert lmkit("predict", str(run), "--input", str(home / "dev.csv"), "--output", str(whole)) == 0
    rows = [json.loads(line) for line in whole.read_text().splitlines()]
    with (home / "dev.csv").open() as file:
        sent = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [row["body"] for row in sent]
    assert sum(row["stars"]["label"] == row_sent["stars"] for row, row_sent in zip(rows, sent, strict=True)) / len(rows) == pytest.approx(
        figures["stars/accuracy"]
    )
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["body"])
        writer.writeheader()
        writer.writerow({"body": sent[7]["body"]})
    assert lmkit("predict", str(run), "--input", str(part), "--output", "-") == 0
    alone = json.loads(capsys.readouterr().out)
    for label, share in rows[7]["stars"]["probabilities"].items():
        assert alone["stars"]["probabilities"][label] == pytest.approx(share, abs=1e-5), "no prediction depends on its batch"

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps({"body": sent[7]["body"]}).encode())))
    assert lmkit("predict", str(run), "--input", "-") == 0
    assert json.loads(capsys.readouterr().out) == alone
    assert lmkit("predict", str(run), "--input", str(part), "--output", str(home)) == 5
    before = part.read_bytes()
    assert lmkit("predict", str(run), "--input", str(part), "--output", str(part)) == 2 and part.read_bytes() == before
    assert "it is a folder itself" in capsys.readouterr().err

    slow = ("training.optimizer.learning_rate=1e-12", "training.early_stopping.patience=1", "training.evaluate_every=1 epochs")
    assert lmkit("train", str(spec), "--run-dir", str(home / "early"), *slow) == 0
    assert "stars/f1 no longer improved after step 13" in capsys.readouterr().out
    assert lmkit("train", str(spec), "--run-dir", str(home / "mistaken"), "model.freeze=[embedings]") == 2
    said = capsys.readouterr().err
    assert lmkit("train", str(spec), "--run-dir", str(home / "mistaken"), "tasks={lm: causal_lm}") == 2
    assert "tasks.lm.kind: causal_lm needs model.kind: decoder" in capsys.readouterr().err
    assert "model.freeze.0: embedings is no part of a model; did you mean embeddings?" in said


def test_a_run_that_does_not_exist_is_never_begun_by_asking_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["evaluate"], ["predict", "--text", "a"], ["generate"]):
        arguments = [verb[0], str(home / "decodr"), *verb[1:], *(["The"] if verb == ["generate"] else [])]
        assert lmkit(*arguments) == 4
        assert "decoder" in capsys.readouterr().err, "the runs beside it are named"
    assert not (home / "decodr").exists()
    assert lmkit("evaluate", str(home / "decoder" / "spec.yaml")) == 4
    capsys.readouterr()
