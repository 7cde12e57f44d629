"""Metrics of a user's own from the spec on: every kind of task tries them, and what they break is said in one line."""

import json
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.errors import SpecError
from lmkit.run.code import run_code
from lmkit.run.metric_contract import metric_breaches
from lmkit.spec_file.load import load
from lmkit.tasks.scores import scores_of

CODE = '''
from lmkit.scores.custom import Metric

class Share(Metric):
    """Of the answers that are right in all they say."""

    def score(self, right, answered):
        return sum(a == b for a, b in zip(right, answered)) / len(right)

class Ordered(Metric):
    def score(self, right, answered):
        return float(right[0] == answered[0]) + len(str(right[0]))

class Taking(Metric):
    def score(self, right, answered):
        for one in (*right, *answered):
            if isinstance(one, list):
                one.clear()
        return 0.0

class Counting(Metric):
    asked = 0

    def score(self, right, answered):
        Counting.asked += 1
        return Counting.asked

class Wordy(Metric):
    def score(self, right, answered):
        return "good"

class Failing(Metric):
    def score(self, right, answered):
        return 1 / 0

class Labelled(Metric):
    def __init__(self, labels, *, base, **options):
        super().__init__(**options)
        self.value = len(labels) + base

    def score(self, right, answered):
        return self.value

class Lacking(Metric):
    pass
'''
COLUMNS = {
    "classification": "label: b",
    "{kind: classification, multi_label: true": "labels: b",
    "regression": "value: b",
    "token_classification": "tags: b",
    "question_answering": "text_pair: b, answers: c",
    "seq2seq": "target: b",
    "{kind: sentence_embedding": "text_pair: b",
}
SPEC = """\
name: own
tokenizer: {{kind: wordpiece, vocab_size: 300}}
data: {{train: {{jsonl: a.jsonl, columns: {{text: a, {columns}}}}}, validation: {{holdout: 20%}}, max_length: 24}}
model: {{kind: {body}, num_layers: 1, hidden_size: 16, num_heads: 2, norm: {{kind: layer_norm, placement: post}}}}
tasks:
  it: {task}, metrics: {metrics}}}
training: {{steps: 2, batch_size: 4, precision: float32, optimizer: {{kind: adamw, learning_rate: 1e-3}}}}
"""


def spec(folder: Path, task: str, metrics: str) -> Path:
    (folder / "own.py").write_text(CODE)
    opened = task if task.startswith("{") else f"{{kind: {task}"
    body = "decoder" if task == "seq2seq" else "encoder"
    (folder / "spec.yaml").write_text(SPEC.format(columns=COLUMNS[task], body=body, task=opened, metrics=metrics))
    return folder / "spec.yaml"


def own(name: str, more: str = "") -> str:
    return f'{{kind: custom, class: "own.py:{name}"{more}}}'


def broken(path: Path) -> list[str]:
    found = load(path).spec
    run_code(found)
    return [str(problem).replace(f"{path.parent}/", "") for problem in metric_breaches(found)]


@pytest.mark.parametrize("task", COLUMNS)
def test_every_kind_of_task_takes_one_and_tries_it(tmp_path: Path, task: str) -> None:
    assert broken(spec(tmp_path, task, f"[{own('Share')}]")) == []
    (said,) = broken(spec(tmp_path, task, f"[{own('Failing')}]"))
    assert said.endswith("own.py:34: tasks.it.metrics: not so: a metric gives one number: ZeroDivisionError: division by zero")


def test_what_a_metric_breaks_is_said_under_the_sentence_that_it_breaks(tmp_path: Path) -> None:
    kind = "seq2seq"
    assert "does not depend on the order of texts" in broken(spec(tmp_path, kind, f"[{own('Ordered')}]"))[0]
    assert "leaves answers as they are" in broken(spec(tmp_path, kind, f"[{own('Taking')}]"))[0]
    assert "gives one number: 1, and then 2 of the same answers" in broken(spec(tmp_path, kind, f"[{own('Counting')}]"))[0]
    assert broken(spec(tmp_path, kind, f"[{own('Wordy')}]")) == [
        "own.py: tasks.it.metrics: not so: a metric gives one number: Wordy.score gives str; give a number"
    ]


def test_it_stands_behind_the_named_ones_and_gets_labels_and_config(tmp_path: Path) -> None:
    found = load(spec(tmp_path, "classification", f"[accuracy, {own('Labelled', ', config: {base: 10}')}, f1]")).spec
    run_code(found)
    scores = scores_of(found.tasks["it"], [("a", "a"), ("b", "a")], ["a", "b"])
    assert {name: figure.value for name, figure in scores.items()} == pytest.approx({"accuracy": 0.5, "f1": 1 / 3, "custom.Labelled": 12})
    assert "it/custom.Labelled" in found.monitors()


@pytest.mark.parametrize(
    ("metrics", "lines"),
    [
        ("[acuracy]", ['6:40: tasks.it.metrics.0: "acuracy" is not one of accuracy, ']),
        (f"[{own('Shares')}]", ["6:62: tasks.it.metrics.0.class: own.py has no class Shares; did you mean Share?"]),
        (f"[{own('Lacking')}]", ["own.py:44:1: tasks.it.metrics.0.class: Lacking has no score; docs/extend.md shows one that has"]),
        (f"[{own('Labelled')}]", ["6:40: tasks.it.metrics.0.config.base: missing; Labelled needs it (own.py:37:5)"]),
        (f"[accuracy, {own('Share')}, {own('Share')}]", ["6:39: tasks.it.metrics: two classes are called Share"]),
        ("[accuracy, 5]", ["6:50: tasks.it.metrics.1: 5 is not one of accuracy, "]),
        ("[{class: own.py}]", ['6:48: tasks.it.metrics.0.class: expected a Python file and a class in it, file.py:Class, got "own.py"']),
    ],
)  # fmt: skip
def test_what_is_wrong_in_the_spec_is_said_at_its_place(tmp_path: Path, metrics: str, lines: list[str]) -> None:
    path = spec(tmp_path, "classification", metrics)
    with pytest.raises(SpecError) as caught:
        load(path)
    found = [str(problem).replace(f"{tmp_path}/", "").removeprefix("spec.yaml:") for problem in caught.value.problems]
    assert len(found) == len(lines) and all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


def test_it_takes_permission_and_has_no_parameters_and_does_not_keep_a_model_from_going_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    records = [{"a": f"the cat sat on mat {i}", "b": "yes" if i % 2 else "no"} for i in range(40)]
    Path("a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    path = spec(tmp_path, "classification", f"[{own('Share')}]")
    assert main(["plan", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["custom"] == []
    assert main(["train", str(path)]) == 2
    assert "own.py: the spec names code of your own; read it, then say --allow-code to run it" in capsys.readouterr().err
    assert main(["train", str(path), "--allow-code"]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/own", "--allow-code", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["it/custom.Share"] == found["figures"]["it/accuracy"]
    assert main(["export", "runs/own", "folder"]) == 0
    assert "code of your own" not in capsys.readouterr().out
