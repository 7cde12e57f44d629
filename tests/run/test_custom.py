"""Custom parts: their code is read as text, refused without permission, kept in the run, and run from there."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from lmkit.checkpoints import own
from lmkit.cli import main
from lmkit.errors import SpecError
from lmkit.layers.build import module_of
from lmkit.spec_file.load import load, plain_words, resolved_text

HEADS = '''\
"""A head of a user."""

from lmkit.heads.pooling import pool
from lmkit.heads.row_class import RowClassHead
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.linear import Linear
from lmkit.layers.weights import canonical


class PooledHead(RowClassHead):
    def __init__(self, hidden_size, num_labels, *, pooling, dropout=0.1, **options):
        super().__init__(**options)
        self.hidden_size, self.num_labels, self.pooling, self.dropout = hidden_size, num_labels, pooling, dropout
        self.classifier = Linear(hidden_size, num_labels, name="classifier", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.classifier.build()
        self.layer_id = layer_id(canonical(self) + ".dropout")

    def logits(self, hidden_BTD, segments_BT, row_key=None, tokens_BT=None):
        x = pool(hidden_BTD, segments_BT, self.pooling)
        return self.classifier(dropout(x, self.dropout, row_key, self.layer_id))
'''
SPEC = """\
name: own
tokenizer: {kind: bpe, vocab_size: 270}
data:
  train: {csv: train.csv, columns: {text: body, label: stars}}
  validation: {csv: dev.csv, columns: {text: body, label: stars}}
  max_length: 16
model: {kind: encoder, num_layers: 1, hidden_size: 32, num_heads: 4, dropout: 0.1, norm: {kind: layer_norm, placement: post}}
tasks:
  stars:
    kind: classification
    head: {kind: custom, class: "heads.py:PooledHead", config: {pooling: mean}}
training: {steps: 8, batch_size: 8, optimizer: {kind: adamw, learning_rate: 3e-3}, evaluate_every: 4 steps}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    Path("heads.py").write_text(HEADS)
    Path("helper.py").write_text("")
    Path("spec.yaml").write_text(SPEC)
    rows = [f"{'list tuple value' if i % 2 else 'error raise except'},{'good' if i % 2 else 'bad'}" for i in range(40)]
    for name in ("train.csv", "dev.csv"):
        Path(name).write_text("body,stars\n" + "\n".join(rows) + "\n")
    yield tmp_path


def told(*overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load("spec.yaml", overrides)
    return [str(problem) for problem in caught.value.problems]


def test_a_custom_part_gets_a_path_and_a_checksum_and_reads_back_as_itself(home: Path) -> None:
    spec = load("spec.yaml").spec
    head = plain_words(resolved_text(spec))["tasks"]["stars"]["head"]
    assert head["class"] == f"{home}/heads.py:PooledHead" and len(head["sha256"]) == 64
    (home / "again.yaml").write_text(resolved_text(spec))
    assert load("again.yaml").spec == spec


def test_a_file_is_relative_to_the_spec_that_names_it_and_an_argument_to_the_working_directory(home: Path) -> None:
    (home / "base").mkdir()
    shutil.move("heads.py", "base/heads.py")
    shutil.move("spec.yaml", "base/spec.yaml")
    (home / "spec.yaml").write_text("extends: base/spec.yaml\nname: child\n")
    assert plain_words(resolved_text(load("spec.yaml").spec))["tasks"]["stars"]["head"]["class"] == f"{home}/base/heads.py:PooledHead"
    assert (
        told("tasks.stars.head.class=heads.py:PooledHead")
        == ["command line argument 1: tasks.stars.head.class: heads.py does not exist; Python files there: none"]
        or "heads.py does not exist" in told("tasks.stars.head.class=heads.py:PooledHead")[0]
    )


@pytest.mark.parametrize(
    ("before", "after", "column", "line"),
    [
        ("heads.py:Pooled", "head.py:Pooled", 33, "class: head.py does not exist; Python files there: heads.py, helper.py"),
        ("heads.py:PooledHead", "heads.py:PoledHead", 33, "class: heads.py has no class PoledHead; did you mean PooledHead?"),
        ("heads.py:", "heads:", 33, 'class: expected a Python file and a class in it, file.py:Class, got "heads:PooledHead"'),
        ("pooling: mean", "pooling: mean, dropuot: 0.1", 80, "config.dropuot: unknown keyword; did you mean dropout?"),
        ("pooling: mean", "pooling: mean, depth: 2", 80, "config.depth: unknown keyword; PooledHead takes pooling, dropout"),
        ("pooling: mean", "pooling: mean, hidden_size: 2", 80, "config.hidden_size: is given by lmkit; remove it"),
        ("pooling: mean", "dropout: 0.2", 56, "config.pooling: missing; PooledHead needs it (heads.py:11:5)"),
        (", config: {pooling: mean}", "", 5, "config.pooling: missing; PooledHead needs it (heads.py:11:5)"),
    ],
)
def test_what_is_wrong_in_the_spec_is_said_at_its_place(home: Path, before: str, after: str, column: int, line: str) -> None:
    (home / "spec.yaml").write_text(SPEC.replace(before, after))
    assert told() == [f"spec.yaml:11:{column}: tasks.stars.head.{line}"]


def test_keys_of_the_default_head_do_not_go_with_a_custom_one(home: Path) -> None:
    (line,) = told("tasks.stars.dropout=0.3")
    assert line.endswith("tasks.stars.dropout: is a key of the default head; a custom one gets what head.config says")


BESIDE = "imports helper, which lies beside this file, but this file is copied into the run alone"


@pytest.mark.parametrize(
    ("before", "after", "place", "line"),
    [
        ("input_shape=None):", "input_shape=None:", "16:37", "not readable as Python: invalid syntax"),
        ("PooledHead(RowClassHead)", "PooledHead", "10:1", "PooledHead does not derive from lmkit.heads.head.Head"),
        ("    def logits(", "    def logit(", "10:1", "PooledHead has no logits; docs/extend.md shows one that has"),
        (", **options):", "):", "11:5", "PooledHead takes no **options; add them, and hand them to super().__init__"),
        ('"""A head of a user."""', "import helper", "1:1", BESIDE),
        ('"""A head of a user."""', "from . import helper", "1:1", "a relative import cannot work: this file is copied into the run alone"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_at_its_place(home: Path, before: str, after: str, place: str, line: str) -> None:
    (home / "heads.py").write_text(HEADS.replace(before, after))
    (found,) = told()
    assert found.startswith(f"heads.py:{place}: tasks.stars.head.class: {line}")


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"class A:\0 pass", "heads.py:1:1: tasks.stars.head.class: not readable as Python: source code string cannot contain null bytes"),
        (b"x = " + b"(" * 20_000, "heads.py:1:205: tasks.stars.head.class: not readable as Python: too many nested parentheses"),
        (b"x = " + b"-" * 200_000 + b"1", "heads.py:1:1: tasks.stars.head.class: not readable as Python: nested too deeply"),
        (b"class A:\n  x = '\xe9'\n", "heads.py:2:10: tasks.stars.head.class: not readable as Python: (unicode error)"),
        (b"#" * 2_000_000, "spec.yaml:11:33: tasks.stars.head.class: heads.py is 2,000,000 bytes; a file of code has at most 1,048,576"),
        (b"", "spec.yaml:11:33: tasks.stars.head.class: heads.py has no class PooledHead; it has none"),
        (b"class A(PooledHead): 0\nclass PooledHead(A): 0", "heads.py:2:1: tasks.stars.head.class: PooledHead does not derive from"),
        (b"f = dict\nclass PooledHead(f()): 0", "heads.py:2:1: tasks.stars.head.class: PooledHead does not derive from"),
    ],
)
def test_a_file_of_anything_is_one_line(home: Path, raw: bytes, line: str) -> None:
    (home / "heads.py").write_bytes(raw)
    (found,) = told()
    assert found.startswith(line)


def test_what_is_no_file_is_not_read(home: Path) -> None:
    (home / "heads.py").unlink()
    os.mkfifo("heads.py")
    assert told() == ["spec.yaml:11:33: tasks.stars.head.class: heads.py is no regular file"]


def test_bases_are_followed_through_the_file_and_through_lmkit(home: Path) -> None:
    more = ["class Second(PooledHead): ...", "import lmkit.heads.sequence_class as own", "class Third(own.SequenceClassHead): ..."]
    (home / "heads.py").write_text("\n".join([HEADS, *more]))
    load("spec.yaml", ["tasks.stars.head.class=heads.py:Second"])
    load("spec.yaml", ["tasks.stars.head.class=heads.py:Third", "tasks.stars.head.config={pooling: mean, pooler: gelu}"])
    assert "did you mean pooler" in told("tasks.stars.head.class=heads.py:Third", "tasks.stars.head.config={poler: gelu}")[0]


def test_check_imports_neither_the_file_nor_keras(home: Path) -> None:
    (home / "heads.py").write_text(HEADS + "\nopen('ran', 'w')\n")
    code = (
        "import sys; from lmkit.cli import main; main(['check', 'spec.yaml']); print('keras' in sys.modules, 'tensorflow' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["spec.yaml: ok", "False False"]
    assert not (home / "ran").exists()


def test_without_permission_nothing_is_run_or_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "spec.yaml"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and "heads.py" in said[0] and "--allow-code" in said[0]
    assert not (home / "runs").exists()


def test_the_plan_says_what_it_cannot_count_and_counts_it_with_permission(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def planned(*arguments: str) -> dict:
        assert main(["plan", "spec.yaml", "--json", *arguments]) == 0
        found: dict = json.loads(capsys.readouterr().out)
        return found

    unknown, known = planned(), planned("--allow-code")
    assert unknown["custom_uncounted"] == unknown["custom"] == known["custom"] == [f"{home}/heads.py:PooledHead"]
    assert known["custom_uncounted"] == [] and known["parameters"]["heads"] == {"stars": {"classifier": 2 * 33}}
    assert known["parameters"]["backbone"] == unknown["parameters"]["backbone"]
    assert known["parameters"]["total"] == unknown["parameters"]["total"] + 66


def test_a_file_that_is_not_what_the_spec_pins_is_refused(home: Path) -> None:
    (home / "spec.yaml").write_text(resolved_text(load("spec.yaml").spec))
    load("spec.yaml")
    with (home / "heads.py").open("a") as file:
        file.write("# changed\n")
    (line,) = told()
    assert "tasks.stars.head.sha256" in line and "has changed" in line


def test_two_files_of_one_name_are_refused(home: Path) -> None:
    (home / "other").mkdir()
    (home / "other" / "heads.py").write_text(HEADS + "# another\n")
    two = SPEC.replace(
        "training:",
        '  more: {kind: classification, head: {kind: custom, class: "other/heads.py:PooledHead", config: {pooling: mean}}}\ntraining:',
    )
    (home / "spec.yaml").write_text(two)
    (line,) = told()
    assert "rename one" in line


def test_a_custom_head_is_trained_resumed_bit_for_bit_evaluated_and_predicted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def lmkit(*arguments: str) -> int:
        return main(list(arguments))

    constant = "training.evaluate_every=4 steps"
    assert lmkit("train", "spec.yaml", "--allow-code", constant, "--run-dir", "straight") == 0
    assert lmkit("train", "spec.yaml", "--allow-code", constant, "--run-dir", "halved", "training.steps=4") == 0
    assert lmkit("train", "spec.yaml", "--allow-code", constant, "--run-dir", "halved") == 0
    straight, halved = own.load(home / "straight" / "checkpoints"), own.load(home / "halved" / "checkpoints")
    assert straight is not None and halved is not None and straight.step == halved.step == 8
    for kind in ("model", "optimizer"):
        one, other = getattr(straight, kind), getattr(halved, kind)
        assert {name: value.tobytes() for name, value in one.items()} == {name: value.tobytes() for name, value in other.items()}
    assert {name for name in straight.model if name.startswith("heads.")} == {
        "heads.stars.classifier.kernel",
        "heads.stars.classifier.bias",
    }
    kept = home / "straight" / "code" / "heads.py"
    assert kept.read_text() == HEADS
    assert plain_words((home / "straight" / "resolved.yaml").read_text())["tasks"]["stars"]["head"]["class"] == "code/heads.py:PooledHead"
    assert straight.facts["code"].keys() == {"heads.py"}

    (home / "heads.py").write_text(HEADS + "# changed\n")
    capsys.readouterr()
    assert lmkit("train", "spec.yaml", "--allow-code", constant, "--run-dir", "straight") == 2
    assert "tasks.stars.head.sha256" in capsys.readouterr().err
    sys.modules.pop(module_of(straight.facts["code"]["heads.py"]))
    (home / "heads.py").unlink()  # from here on the run's own copy is all there is
    shutil.move("straight", "moved")
    for verb in (["evaluate", "moved"], ["predict", "moved", "--text", "list value"]):
        assert lmkit(*verb) == 2
        assert "--allow-code" in capsys.readouterr().err
    assert lmkit("evaluate", "moved", "--json", "--allow-code") == 0
    assert json.loads(capsys.readouterr().out)["figures"]["stars/accuracy"] == 1
    assert lmkit("predict", "moved", "--text", "list value", "--json", "--allow-code") == 0
    assert json.loads(capsys.readouterr().out)["stars"]["label"] == "good"

    assert lmkit("export", "moved", "folder", "--verify") == 0, "the body is said without the head, so no code is run"
    assert "heads.stars is code of your own" in capsys.readouterr().out
    assert (home / "folder" / "custom" / "heads.py").read_text() == HEADS
    weights = load_file(home / "folder" / "custom" / "stars.safetensors")
    heads = {name: value.tobytes() for name, value in straight.model.items() if name.startswith("heads.")}
    assert {name: value.tobytes() for name, value in weights.items()} == heads
    assert lmkit("export", "moved", "alone", "--task", "stars") == 0
    assert (home / "alone" / "custom" / "stars.safetensors").read_bytes() == (home / "folder" / "custom" / "stars.safetensors").read_bytes()
    capsys.readouterr()
    assert lmkit("export", "moved", "other", "--task", "stras") == 2
    assert "the run has no task stras; it has stars" in capsys.readouterr().err

    tuned = (
        SPEC.replace(SPEC.splitlines()[1] + "\n", "")
        .replace(SPEC.splitlines()[6], "model: {from: moved}")
        .replace("name: own", "name: tuned")
    )
    (home / "tuned.yaml").write_text(tuned.replace("heads.py", "moved/code/heads.py"))
    assert lmkit("train", "tuned.yaml", "--allow-code", "--run-dir", "tuned") == 0
    assert "heads kept: stars" in capsys.readouterr().err

    kept = home / "moved" / "code" / "heads.py"
    kept.write_text(HEADS + "# changed\n")
    assert lmkit("evaluate", "moved", "--allow-code") == 2
    assert "has changed" in capsys.readouterr().err
