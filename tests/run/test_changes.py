"""A run goes on with the spec that it was begun with, also where lmkit has learned new words since then."""

from pathlib import Path

import pytest

from lmkit.errors import SpecError
from lmkit.run.changes import allowed_changes
from lmkit.spec_file.load import load, plain_words, resolved_text, whole_words

SPEC = """\
name: tiny
tokenizer: {kind: bpe, vocab_size: 300}
data: {train: {reviews: {jsonl: /texts/reviews.jsonl, columns: {text: text, label: stars}}}, max_length: 16}
model: {kind: encoder, num_layers: 2, hidden_size: 16, num_heads: 2}
tasks: {mlm: masked_lm, stars: {kind: classification, weight: 0.5}}
training: {steps: 10, batch_size: 4, optimizer: {kind: adamw, learning_rate: {kind: linear, peak: 1e-3}}}
"""
# Its resolved.yaml as it was written before training.logits_chunk, non_finite and loss_spikes, and runtime.hang_minutes were words.
OLD = """\
version: 1
name: tiny
seed: 0
tokenizer: {kind: bpe, lowercase: false, normalization: none, special_tokens: [], vocab_size: 300, min_frequency: 2}
data:
  train:
    reviews: {sentence: rules, encoding_errors: fail, max_record_bytes: 8388608, long_records: fail, wrong_answers: fail,
      columns: {text: text, label: stars}, document: field, unlabelled: fail, train_on: responses, jsonl: [/texts/reviews.jsonl]}
  max_length: 16
  packing: false
  buckets: 6
model:
  kind: encoder
  num_layers: 2
  hidden_size: 16
  num_heads: 2
  num_kv_heads: 2
  head_dim: 8
  attention: {kind: multi_head, window: [full], rotary: [{kind: default}], dropout: 0,
    bias: {query: true, key: true, value: true, output: true}, scale_by_layer: false, qk_norm: none}
  position: [{kind: learned, max_length: 16, offset: 0, ids: all}]
  norm: {kind: layer_norm, placement: pre, epsilon: 1e-05, bias: true, first: true}
  feed_forward: [{kind: dense, intermediate_size: 64, activation: gelu, bias: true}]
  parallel: none
  residual: stream
  residual_scale: 1
  final_norm: true
  bias: true
  dropout: 0
  embedding_norm: false
  token_types: 0
  blocks_per_group: 1
  tie_embeddings: true
  output: {train_bias: true, scale: 1, transform_bias: true}
tasks:
  mlm: {kind: masked_lm, weight: 1, mask_rate: 0.15, whole_word: false}
  stars: {kind: classification, weight: 0.5, pooling: first, pooler: tanh, pooler_bias: true, pooler_norm: false, dropout: 0.1,
    classifier_bias: true, truncate: end, labels: auto, multi_label: false, threshold: 0.5, label_smoothing: 0,
    metrics: [accuracy], head: {kind: default}}
training:
  steps: 10
  batch_size: 4
  gradient_accumulation_steps: 1
  rematerialize: none
  precision: auto
  optimizer: {kind: adamw, learning_rate: {kind: linear, peak: 0.001, warmup: 0 steps, floor: 0}, weight_decay: 0.01, clip_norm: 1,
    layer_decay: 1, beta1: 0.9, beta2: 0.999, epsilon: 1e-08}
  evaluate_documents: 200
  keep: 2
runtime: {strategy: auto, steps_per_call: auto, wait_minutes: 10}
logging: {every: 10, samples: [], histograms: false}
"""


def changes(folder: Path, *overrides: str, stored: str = OLD) -> list[str]:
    """What is said when a run with these words is started again with the spec and the overrides."""
    (folder / "resolved.yaml").write_text(stored)
    (folder / "spec.yaml").write_text(SPEC)
    return allowed_changes(folder, whole_words(resolved_text(load(folder / "spec.yaml", overrides).spec)), whole_words)


def test_a_run_that_knows_fewer_words_goes_on_and_nothing_is_said(tmp_path: Path) -> None:
    assert changes(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [
        "seed: 0\n",
        ", special_tokens: []",  # a block chosen by its kind
        ", wrong_answers: fail",  # a source of the data
        "long_records: fail, ",
        ", offset: 0, ids: all",  # an entry of a list
        ", epsilon: 1e-05",
        "  residual_scale: 1\n",
        "query: true, ",  # three blocks deep
        ", whole_word: false",  # a task
        ", head: {kind: default}",  # a block of a task
        ", warmup: 0 steps",  # a block in a block, both chosen by their kind
        ", beta1: 0.9",
        "  num_kv_heads: 2\n",  # a default that follows from other words
        ", intermediate_size: 64",
        ", pooler: tanh",
        "logging: {every: 10, samples: [], histograms: false}\n",
    ],
)
def test_a_word_that_a_run_lacks_had_its_default(tmp_path: Path, words: str) -> None:
    assert OLD.count(words) == 1
    assert changes(tmp_path, stored=OLD.replace(words, "")) == []


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.logits_chunk=512", "training.logits_chunk: auto -> 512"),
        ("tasks.mlm.mask_rate=0.2", "tasks.mlm.mask_rate: 0.15 -> 0.2"),
    ],
)
def test_a_new_word_that_says_something_else_is_refused(tmp_path: Path, override: str, line: str) -> None:
    with pytest.raises(SpecError) as error:
        changes(tmp_path, override, stored=OLD.replace("mask_rate: 0.15, ", ""))
    assert line in str(error.value).splitlines()


def test_a_harmless_new_word_is_taken_over(tmp_path: Path) -> None:
    assert changes(tmp_path, "training.non_finite=skip") == [
        "training.non_finite.kind: abort -> skip",
        "training.non_finite.at_most: nothing -> 10",
    ]


def test_a_word_that_is_known_no_longer_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as error:
        changes(tmp_path, stored=OLD + "magic: 3\n")
    assert "magic: 3 -> nothing" in str(error.value).splitlines()


def stored(run: Path, words: str) -> None:
    run.mkdir()
    (run / "spec.yaml").write_text(words)
    (run / "resolved.yaml").write_text(resolved_text(load(run / "spec.yaml").spec))


def test_a_source_without_a_name_is_told_as_it_is_written(tmp_path: Path) -> None:
    one, other = (SPEC.replace("{reviews: {jsonl:", "{jsonl:").replace("label: stars}}", "label: " + name) for name in ("stars}", "marks}"))
    stored(tmp_path / "run", one)
    spec = tmp_path / "spec.yaml"
    spec.write_text(other)
    loaded = load(spec)
    with pytest.raises(SpecError) as error, loaded.placing():
        allowed_changes(tmp_path / "run", whole_words(resolved_text(loaded.spec)), whole_words)
    assert str(error.value).splitlines()[0] == f"{spec}:3:74: data.train.columns.label: stars -> marks"


def test_where_the_data_lie_is_said_and_may_change(tmp_path: Path) -> None:
    assert changes(tmp_path, "data.train.reviews.jsonl=/moved/reviews.jsonl") == [
        "data.train.reviews.jsonl: [/texts/reviews.jsonl] -> [/moved/reviews.jsonl]"
    ]
    lone = SPEC.replace("{reviews: {jsonl:", "{jsonl:").replace("stars}}", "stars}")
    stored(tmp_path / "run", lone)
    (tmp_path / "spec.yaml").write_text(lone.replace("/texts/", "/moved/"))
    moved = whole_words(resolved_text(load(tmp_path / "spec.yaml").spec))
    assert allowed_changes(tmp_path / "run", moved, whole_words) == ["data.train.jsonl: [/texts/reviews.jsonl] -> [/moved/reviews.jsonl]"]


def test_a_source_of_another_kind_is_refused(tmp_path: Path) -> None:
    stored(tmp_path / "run", SPEC)
    (tmp_path / "spec.yaml").write_text(SPEC.replace("jsonl: ", "csv: "))
    with pytest.raises(SpecError, match=r"data.train.reviews.csv: nothing -> \[/texts/reviews.jsonl\]"):
        allowed_changes(tmp_path / "run", whole_words(resolved_text(load(tmp_path / "spec.yaml").spec)), whole_words)


@pytest.mark.parametrize("is_there", [True, False])
def test_the_model_that_a_run_began_with_may_be_elsewhere_where_it_was_moved(tmp_path: Path, is_there: bool) -> None:
    old = tmp_path / "old"
    words = "name: tuned\nmodel:\n  from: {}\n"
    (tmp_path / "resolved.yaml").write_text(words.format(old))
    new = plain_words(words.format("/elsewhere"))
    if is_there:
        old.mkdir()
        with pytest.raises(SpecError, match="begun with another spec"):
            allowed_changes(tmp_path, new, plain_words)
    else:
        assert allowed_changes(tmp_path, new, plain_words) == [f"model.from: {old} -> /elsewhere"]


def test_code_may_be_elsewhere_and_not_another_class(tmp_path: Path) -> None:
    words = "model: {{norm: {{class: '{}', sha256: abc}}}}\n"
    (tmp_path / "resolved.yaml").write_text(words.format("/old/parts.py:Norm"))
    assert len(allowed_changes(tmp_path, plain_words(words.format("/new/parts.py:Norm")), plain_words)) == 1
    with pytest.raises(SpecError):
        allowed_changes(tmp_path, plain_words(words.format("/old/parts.py:Other")), plain_words)
