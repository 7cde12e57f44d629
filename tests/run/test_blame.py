"""Errors in a user's own Python: every verb names the line of the file and the key of the spec, whatever kind of part it is."""

from pathlib import Path

import pytest

from lmkit.cli import main

CODE = """\
import os

from keras import ops

from lmkit.attention.multi_head import MultiHeadAttention
from lmkit.blocks.norms import LayerNorm
from lmkit.heads.row_class import RowClassHead
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.scores.custom import Metric


def fails(kind):
    if os.environ.get("FAILS") == kind:
        raise KeyError(f"no {kind}")


class Head(RowClassHead):
    def __init__(self, hidden_size, num_labels, **options):
        super().__init__(**options)
        self.hidden_size, self.num_labels = hidden_size, num_labels
        self.classifier = Linear(hidden_size, num_labels, name="classifier", dtype=self.dtype_policy)

    def build(self, input_shape=None):
        self.classifier.build()

    def logits(self, hidden_BTD, segments_BT, row_key=None, tokens_BT=None):
        fails("head")
        return self.classifier(hidden_BTD[:, 0])


class Share(Metric):
    def score(self, right, answered):
        fails("metric")
        return sum(a == b for a, b in zip(right, answered)) / len(right)


class Double(Layer):
    def __init__(self, **options):
        super().__init__(**options)

    def build(self, input_shape=None): ...

    def call(self, x_BTD):
        fails("feed_forward")
        taken = ops.take(ops.ones(4), ops.cast(x_BTD[:, :, 0] * 0, "int32") + 9 * (os.environ.get("FAILS") == "value"))
        return x_BTD * ops.cast(ops.expand_dims(taken, 2), x_BTD.dtype)


class Norm(LayerNorm):
    def __init__(self, size, **options):
        super().__init__(size, **options)

    def call(self, x):
        fails("norm")
        return super().call(x)


class Zero(Layer):
    def __init__(self, embedding_size, **options):
        super().__init__(**options)
        self.embedding_size = embedding_size

    def build(self, input_shape=None): ...

    def call(self, positions, tokens=None):
        fails("position")
        return ops.zeros((*ops.shape(positions), self.embedding_size))


class Attention(MultiHeadAttention):
    def __init__(self, hidden_size, num_heads, *, num_kv_heads, head_dim, window, **options):
        super().__init__(hidden_size, num_heads, num_kv_heads=num_kv_heads, head_dim=head_dim, window=window, **options)

    def queries(self, x_BTD):
        fails("attention")
        return super().queries(x_BTD)
"""
SPEC = """\
name: own
tokenizer: {kind: bpe, vocab_size: 270}
data: {train: {csv: a.csv, columns: {text: text, label: stars}}, validation: {holdout: 20%}, max_length: 16}
model:
  kind: encoder
  num_layers: 1
  hidden_size: 16
  num_heads: 2
  position: [{kind: custom, slot: embedding, class: "own.py:Zero"}]
  attention: {kind: custom, class: "own.py:Attention"}
  feed_forward: {kind: custom, class: "own.py:Double"}
  norm: {kind: custom, class: "own.py:Norm"}
tasks:
  stars: {kind: classification, head: {kind: custom, class: "own.py:Head"}, metrics: [accuracy, {kind: custom, class: "own.py:Share"}]}
training: {steps: 2, batch_size: 4, evaluate_every: 2 steps, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""
EVALUATE = ("evaluate", "run")
TRAIN, PREDICT = ("train", "spec.yaml", "--run-dir", "other"), ("predict", "run", "--text", "a")
CHECK = ("check", "spec.yaml")
KINDS = {
    "head": ("tasks.stars.head", PREDICT),
    "metric": ("tasks.stars.metrics.1", EVALUATE),
    "feed_forward": ("model.feed_forward", CHECK),
    "norm": ("model.norm", TRAIN),
    "position": ("model.position", PREDICT),
    "attention": ("model.attention", EVALUATE),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blame")
    (folder / "own.py").write_text(CODE)
    (folder / "spec.yaml").write_text(SPEC)
    (folder / "a.csv").write_text("text,stars\n" + "a fine list,good\none more error,bad\n" * 20)
    return folder


def test_an_error_in_a_part_of_any_kind_names_its_line_and_its_key(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(home)

    def said(*arguments: str) -> str:
        assert main([*arguments, "--allow-code"]) == 2, arguments
        return capsys.readouterr().err

    lines = CODE.splitlines()
    raised = lines.index('        raise KeyError(f"no {kind}")') + 1
    assert main(["train", "spec.yaml", "--allow-code", "--run-dir", "run"]) == 0
    for kind, (key, verb) in KINDS.items():
        monkeypatch.setenv("FAILS", kind)
        what = "not so: " if verb == CHECK else f"KeyError: no {kind}; the traceback is in"
        assert f"/own.py:{raised}: {key}: {what}" in said(*verb)
    monkeypatch.setenv("FAILS", "value")
    taken = next(number for number, line in enumerate(lines, 1) if "taken = " in line)
    what = "InvalidArgumentError: indices[0,0] = 9 is not in [0, 4); the traceback is in"
    assert f"/own.py:{taken}: {what}" in said(*EVALUATE), "the steps that made a graph know no object"
