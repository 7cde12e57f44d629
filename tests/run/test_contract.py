"""The contract of the rooms: `lmkit check --allow-code` tells parts that keep it from parts that do not."""

from pathlib import Path

import pytest

from lmkit.cli import main

OPENING = """\
import keras
from keras import ops

from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear


class Part(Layer):
    def __init__(self, hidden_size, *, scale=2.0, **options):
        super().__init__(**options)
        self.hidden_size, self.scale = hidden_size, scale
        self.up = Linear(hidden_size, hidden_size, name="up", dtype=self.dtype_policy)
"""
BUILD = "\n    def build(self, input_shape=None):\n        self.up.build()\n"
CALL = "\n    def call(self, x_BTD):\n        return self.scale * self.up(x_BTD)\n"
SPEC = """\
name: own
tokenizer: {kind: bpe, vocab_size: 300}
data: {train: {text: a.txt}, max_length: 16}
model:
  kind: decoder
  num_layers: 2
  hidden_size: 16
  num_heads: 2
  feed_forward: {kind: custom, class: "parts.py:Part"}
tasks: {lm: causal_lm}
training: {steps: 8, batch_size: 8, optimizer: {kind: adamw, learning_rate: 3e-3}}
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC)
    return tmp_path


def said(code: str, capsys: pytest.CaptureFixture[str], rc: int = 2) -> str:
    Path("parts.py").write_text(code)
    assert main(["check", "spec.yaml", "--allow-code"]) == rc
    heard = capsys.readouterr()
    return heard.out + heard.err


def test_a_part_that_keeps_the_contract_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(OPENING + BUILD + CALL, capsys, 0).splitlines() == [f"{home}/parts.py:Part keeps the contract", "spec.yaml: ok"]


@pytest.mark.parametrize(
    ("build", "call", "line"),
    [
        (
            BUILD,
            CALL.replace("self.up(x_BTD)", "ops.reshape(x_BTD, (2, 3))"),
            "parts.py:18: model.feed_forward: not so: it runs: InvalidArgumentError: Input",
        ),
        (BUILD, CALL.replace("self.up(x_BTD)", "self.up(x_BTD)[:, :, :5]"), "parts.py: not so: it runs: InvalidArgumentError: Incomp"),
        (BUILD, CALL.replace("self.up(x_BTD)", "ops.stop_gradient(self.up(x_BTD))"), "feed_forward.up.kernel is nothing but zeros"),
        (
            BUILD,
            CALL.replace("x_BTD)\n", "x_BTD - ops.mean(x_BTD, axis=0))\n"),
            "a row does not depend on the rows beside it: hidden",
        ),
        (BUILD, CALL.replace("x_BTD)\n", "x_BTD + ops.roll(x_BTD, -1, axis=1))\n"), "not so: a decoder sees no later token: hidden"),
        (BUILD, CALL.replace("self.up(x_BTD)", 'ops.cast(self.up(x_BTD), "float32")'), "not so: bfloat16 keeps"),
        (
            BUILD,
            CALL.replace("self.scale", "ops.cast(1 + ops.convert_to_tensor(self.up.bias_weight) + ops.ones((16,)), x_BTD.dtype)"),
            "not so: weights of another dtype are cast where they are used: InvalidArgumentError",
        ),
        (BUILD, CALL.replace("self.scale", "keras.random.uniform(())"), "not so: one draw is repeated by its row key: hidden"),
        (BUILD.replace("self.up.build()", "pass"), CALL, "parts.py: Part does not build its layer up; call up.build() in build"),
        (BUILD + '        self.add_weight(name="own", shape=(3,))\n', CALL, "Part makes own without lmkit.layers.weights.add_weight"),
        (BUILD + "        self.drop = keras.layers.Dropout(0.5)\n        self.drop.build((1,))\n", CALL, "Part holds random state"),
    ],
)
def test_what_is_broken_is_said(home: Path, build: str, call: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert line in said(OPENING + build + call, capsys)


LABELLED = "{csv: a.csv, columns: {text: a, label: b}}"
ROTATION = """\
from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight
from lmkit.positions.rotary import rotary_table


class Part(Layer):
    def __init__(self, head_dim, **options):
        super().__init__(**options)
        self.head_dim = head_dim

    def build(self, input_shape=None):
        pass

    def call(self, positions):
        return rotary_table(positions, [0.3**i for i in range(self.head_dim // 2)])
"""
VECTORS = """\
from keras import ops
from lmkit.layers.layer import Layer
from lmkit.layers.weights import Normal, add_weight


class Part(Layer):
    def __init__(self, embedding_size, max_length, **options):
        super().__init__(**options)
        self.embedding_size, self.max_length = embedding_size, max_length

    def build(self, input_shape=None):
        self.table = add_weight(self, "table", (self.max_length, self.embedding_size), Normal(0.02), ("length", "hidden"))

    def call(self, positions, tokens=None):
        return ops.take(self.table, positions, axis=0)
"""


@pytest.mark.parametrize(
    ("code", "model"),
    [
        (ROTATION, 'position: [learned, {kind: custom, slot: rotation, class: "parts.py:Part"}]'),
        (VECTORS, 'position: {kind: custom, slot: embedding, class: "parts.py:Part"}\n  embedding_size: 8\n  embedding_norm: true'),
        (OPENING + BUILD + CALL, 'feed_forward: [dense, {kind: custom, class: "parts.py:Part"}]'),
        (OPENING + BUILD + CALL, 'feed_forward: {kind: custom, class: "parts.py:Part"}\n  layer_groups: 1'),
        (OPENING + BUILD + CALL, 'feed_forward: {kind: custom, class: "parts.py:Part"}\n  parallel: shared_norm'),
    ],
)
def test_parts_go_with_other_words(home: Path, code: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.yaml").write_text(SPEC.replace('feed_forward: {kind: custom, class: "parts.py:Part"}', model))
    assert "keeps the contract" in said(code, capsys, 0)


def test_a_part_goes_into_both_sides_of_an_encoder_decoder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = SPEC.replace("kind: decoder", "kind: encoder_decoder\n  start_id: 1").replace("{text: a.txt}", LABELLED)
    Path("spec.yaml").write_text(both.replace("lm: causal_lm", "stars: {kind: classification, pooling: mean}"))
    assert "keeps the contract" in said(OPENING + BUILD + CALL, capsys, 0)


def test_a_rotation_has_no_weights(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("spec.yaml").write_text(SPEC.replace("feed_forward: {kind: custom", "position: {kind: custom, slot: rotation"))
    weighty = ROTATION.replace("        pass", '        self.own = add_weight(self, "own", (1,), Normal(0.02), ("one",))')
    assert "Part has weights, and a rotation has none" in said(weighty, capsys)


def test_an_error_in_a_users_code_is_told_from_a_bug_in_lmkit(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a.txt").write_text("one two three\n" * 400)
    Path("parts.py").write_text(OPENING + BUILD + CALL.replace("self.scale", "self.size"))
    assert main(["train", "spec.yaml", "--allow-code", "--run-dir", "run"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    what = "model.feed_forward: AttributeError: 'Part' object has no attribute 'size'; the traceback is in"
    assert last.startswith(f"{home}/parts.py:18: {what}")
    assert said(OPENING.replace("class Part", "import nothing_here\n\n\nclass Part") + BUILD + CALL, capsys).startswith(
        f"{home}/parts.py:8: model.feed_forward: ModuleNotFoundError: No module named 'nothing_here'; the traceback is in"
    )
    assert "parts.py:18: model.feed_forward: SystemExit: 3; the traceback" in said(
        OPENING + BUILD + CALL.replace("return", "exit(3)#"), capsys
    )
