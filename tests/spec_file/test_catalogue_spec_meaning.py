"""Specs that read well and mean nothing sensible: each gets its key, its place, and its fix."""

from pathlib import Path

import pytest

from lmkit.errors import SpecError
from lmkit.spec_file.load import Loaded, load

DECODER = """\
name: tiny
seed: 1
tokenizer: {kind: bpe, vocab_size: 500}
data:
  train: {text: corpus/*.txt}
  validation: {text: held_out.txt}
  max_length: 64
model:
  kind: decoder
  num_layers: 2
  hidden_size: 64
  num_heads: 4
  attention: {window: full}
  position: learned
  norm: layer_norm
  feed_forward: {kind: dense, activation: gelu}
  dropout: 0.1
tasks: {lm: causal_lm}
training:
  steps: 100
  batch_size: 8
  gradient_accumulation_steps: 1
  optimizer:
    kind: adamw
    learning_rate: {kind: cosine, peak: 1e-3, warmup: 10 steps}
  keep: 2
"""
ENCODER = (
    DECODER.replace("kind: decoder", "kind: encoder")
    .replace("tasks: {lm: causal_lm}", "tasks:\n  mlm: {kind: masked_lm, mask_rate: 0.15}")
    .replace("  keep: 2\n", "  early_stopping: {monitor: mlm/loss}\n")
)
CLASSIFIER = (
    ENCODER.replace("{text: corpus/*.txt}", "{csv: a.csv, columns: {text: body, label: stars}}")
    .replace("{text: held_out.txt}", "{csv: b.csv, columns: {text: body, label: stars}}")
    .replace("mlm: {kind: masked_lm, mask_rate: 0.15}", "stars: {kind: classification}")
    .replace("mlm/loss", "stars/accuracy")
)

DOUBTFUL = (
    DECODER.replace("kind: decoder", "kind: encoder")
    .replace("{text: corpus/*.txt}", "{squad: a.json}")
    .replace("{text: held_out.txt}", "{squad: b.json}")
    .replace("lm: causal_lm", "qa: {kind: question_answering, no_answer_threshold: auto}")
)
BESIDE = (
    CLASSIFIER.replace("kind: encoder", "kind: encoder_decoder\n  start_id: 0\n  encoder: {num_layers: 3}\n  decoder: {norm: rms_norm}")
    .replace("{kind: classification}", "{kind: classification, pooling: last}")
    .replace("position: learned", "position: relative")
)  # fmt: skip


def told(folder: Path, text: str, *overrides: str, strict: bool = False) -> list[str]:
    path = folder / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load(path, overrides, strict=strict)
    return [str(problem).replace(str(path), "spec.yaml") for problem in caught.value.problems]


def accepted(folder: Path, text: str, *overrides: str) -> Loaded:
    path = folder / "spec.yaml"
    path.write_text(text)
    return load(path, overrides)


@pytest.mark.parametrize("text", [DECODER, ENCODER, CLASSIFIER])
def test_the_specs_that_are_spoilt_below_are_right(tmp_path: Path, text: str) -> None:
    assert accepted(tmp_path, text).warnings == ()


# (catalogue number, text to replace, replacement, the one line that must come)
SPOILT = [
    (22, "num_heads: 4", "num_head: 4", "12:3: model.num_head: unknown key; did you mean num_heads?"),
    (22, "seed: 1", "sed: 1", "2:1: sed: unknown key; did you mean seed?"),
    (22, "activation: gelu", "actvation: gelu", "16:31: model.feed_forward.actvation: unknown key; did you mean activation?"),
    (22, "  keep: 2", "  lr: 1e-3", "26:3: training.lr: unknown key here; learning_rate belongs under training.optimizer"),
    (
        22,
        "peak: 1e-3",
        "lr: 1e-3",
        "25:35: training.optimizer.learning_rate.lr: unknown key here; learning_rate belongs under training.optimizer",
    ),
    (22, "hidden_size: 64", "d_model: 64", "11:3: model.d_model: unknown key; did you mean hidden_size?"),
    (22, "text: corpus", "txt: corpus", "5:11: data.train.txt: unknown key; did you mean text?"),
    (23, "  num_layers: 2", "  num_layers: 2\n  window: 8", "11:3: model.window: unknown key here; it belongs under model.attention"),
    (23, "  keep: 2", "  learning_rate: 1e-3", "26:3: training.learning_rate: unknown key here; it belongs under training.optimizer"),
    (23, "seed: 1", "num_layers: 1", "2:1: num_layers: unknown key here; it belongs under model"),
    (
        23,
        "position: learned",
        "position: {kind: rotary, max_length: 64}",
        "14:28: model.position.max_length: does not go with rotary; it belongs to learned",
    ),
    (24, "  num_layers: 2\n", "", "8:1: model.num_layers: missing; add for example num_layers: 6"),
    (24, "name: tiny\n", "", "1:1: name: missing; add for example name: my-model"),
    (24, "peak: 1e-3, ", "", "25:5: training.optimizer.learning_rate.peak: missing; add for example peak: 0.0003"),
    (
        24,
        "  kind: decoder\n",
        "",
        "8:1: model: does not say which kind it is; add kind: encoder or kind: decoder or kind: encoder_decoder or from: ...",
    ),
    (24, "tokenizer: {kind: bpe, vocab_size: 500}\n", "", "1:1: tokenizer: missing; add for example tokenizer: {kind: bpe"),
    (24, "  steps: 100\n", "", "19:1: training: the length of the run is missing; add for example steps: 1000"),
    (50, "  keep: 2", "  save_every: 0 steps", "26:15: training.save_every: 0 steps never passes; write 1 steps or more, or remove this"),
    (25, "num_layers: 2", 'num_layers: "12"', '10:15: model.num_layers: expected a whole number, got "12"; write 12 without quotes'),
    (25, "num_layers: 2", "num_layers: 12.0", "10:15: model.num_layers: expected a whole number, got 12.0; write 12"),
    (25, "num_layers: 2", "num_layers: [12]", "10:15: model.num_layers: expected a whole number, got a list"),
    (25, "batch_size: 8", "batch_size: big", '21:15: training.batch_size: expected a whole number, got "big"'),
    (25, "dropout: 0.1", 'dropout: "0.1"', '17:12: model.dropout: expected a number, got "0.1"; write 0.1 without quotes'),
    (25, "attention: {window: full}", "attention: full", '13:14: model.attention: expected a mapping of keys, got "full"'),
    (25, "name: tiny", "name: 7", "1:7: name: expected text, got 7; put it in quotes"),
    (25, "warmup: 10 steps", "warmup: 10 minutes", "25:55: training.optimizer.learning_rate.warmup: expected a number of steps"),
    (
        25,
        "tokenizer: {kind: bpe, vocab_size: 500}",
        "tokenizer: wordpeace",
        "3:12: tokenizer: expected a mapping such as {kind: wordpiece, vocab_size: 8000}, got",
    ),
    (25, "tasks: {lm: causal_lm}", "tasks: causal_lm", "18:8: tasks: expected a mapping such as {lm: causal_lm}, got"),
    (
        25,
        "{kind: cosine, peak: 1e-3, warmup: 10 steps}",
        "5%",
        "25:20: training.optimizer.learning_rate: expected a number such as 0.0003 or",
    ),
    (22, "name: tiny", "Extends: base.yaml\nname: tiny", "1:1: Extends: unknown key; did you mean extends?"),
    (31, "{text: held_out.txt}", "{holdout: 5}", "6:25: data.validation.holdout: expected a number above 0 and below 1, got 5"),
    (26, "num_layers: 2", "num_layers: true", "10:15: model.num_layers: expected a whole number, got true"),
    (26, "dropout: 0.1", "dropout: false", "17:12: model.dropout: expected a number, got false"),
    (27, "num_layers: 2", "num_layers: null", "10:15: model.num_layers: null is no value here; write one"),
    (27, "num_layers: 2", "num_layers:", "10:14: model.num_layers: null is no value here; write one"),
    (27, "seed: 1", "seed: ~", "2:7: seed: null is no value here; remove the key to get its default"),
    (28, "hidden_size: 64", "hidden_size: 66", "11:16: model.hidden_size: 66 is not divisible by num_heads = 4; nearest: 64, 68"),
    (
        29,
        "num_heads: 4",
        "num_heads: 4\n  num_kv_heads: 3",
        "13:17: model.num_kv_heads: 3 does not divide num_heads = 4; possible: 1, 2, 4",
    ),
    (
        30,
        "position: learned",
        "position: rotary\n  head_dim: 7",
        "14:13: model.position: rotary turns pairs of channels, but head_dim = 7 is odd",
    ),
    (31, "num_layers: 2", "num_layers: 0", "10:15: model.num_layers: expected a number from 1 to 10000, got 0"),
    (31, "num_heads: 4", "num_heads: -4", "12:14: model.num_heads: expected a number from 1 to 10000, got -4"),
    (31, "hidden_size: 64", "hidden_size: 0", "11:16: model.hidden_size: expected a number of 1 or more, got 0"),
    (31, "batch_size: 8", "batch_size: 0", "21:15: training.batch_size: expected a number of 1 or more, got 0"),
    (31, "steps: 100", "steps: -1", "20:10: training.steps: expected a number of 1 or more, got -1"),
    (31, "window: full", "window: []", "13:23: model.attention.window: expected an item, or a list of one or more"),
    (31, "position: learned", "position: []", "14:13: model.position: expected an item, or a list of one or more"),
    (31, "vocab_size: 500", "vocab_size: 256", "3:36: tokenizer.vocab_size: 256 has no room for the 256 bytes"),
    (32, "dropout: 0.1", "dropout: -0.1", "17:12: model.dropout: expected a number from 0 to below 1, got -0.1"),
    (32, "dropout: 0.1", "dropout: 1.0", "17:12: model.dropout: expected a number from 0 to below 1, got 1.0"),
    (32, "dropout: 0.1", "dropout: 150%", "17:12: model.dropout: expected a number from 0 to below 1, got"),
    (33, "peak: 1e-3", "peak: .nan", "25:41: training.optimizer.learning_rate.peak: .nan is no usable number; it must be finite"),
    (33, "peak: 1e-3", "peak: -1", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got -1"),
    (33, "peak: 1e-3", "peak: 0", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got 0"),
    (33, "peak: 1e-3", "peak: 1e3", "25:41: training.optimizer.learning_rate.peak: expected a number above 0 and below 1000, got 1000"),
    (34, "kind: adamw", "kind: adamw\n    beta2: 1", "25:12: training.optimizer.beta2: expected a number from 0 to below 1, got 1"),
    (34, "kind: adamw", "kind: adamw\n    epsilon: 0", "25:14: training.optimizer.epsilon: expected a number above 0, got 0"),
    (
        34,
        "kind: adamw",
        "kind: adamw\n    weight_decay: -1",
        "25:19: training.optimizer.weight_decay: expected a number of 0 or more, got -1",
    ),
    (34, "kind: adamw", "kind: adamw\n    clip_norm: 0", "25:16: training.optimizer.clip_norm: expected a number above 0, got 0"),
    (
        35,
        "warmup: 10 steps",
        "warmup: 101 steps",
        "25:55: training.optimizer.learning_rate.warmup: 101 steps is longer than the run of training.steps = 100",
    ),
    (35, "warmup: 10 steps", "warmup: 150%", "25:55: training.optimizer.learning_rate.warmup: expected 0% to 100%, got"),
    (
        36,
        "kind: adamw",
        "kind: adam",
        '24:11: training.optimizer.kind: "adam" is not one of adamw, lion, adafactor, muon, sgd; did you mean adamw?',
    ),
    (36, "activation: gelu", "activation: gleu", '16:43: model.feed_forward.activation: "gleu" is not one of gelu, gelu_tanh, '),
    (36, "norm: layer_norm", "norm: batch_norm", '15:9: model.norm: "batch_norm" is not one of layer_norm, rms_norm'),
    (36, "kind: cosine", "kind: cosin", '25:27: training.optimizer.learning_rate.kind: "cosin" is not one of constant, linear, '),
    (36, "lm: causal_lm", "lm: causal", '18:13: tasks.lm: "causal" is not one of causal_lm, '),
    (
        37,
        "position: learned",
        "position: rotery",
        '14:13: model.position: "rotery" is not one of none, learned, sinusoidal, rotary, alibi, relative, disentangled, custom; did',
    ),
    (
        37,
        "position: learned",
        "position: [learned, sinusoidal]",
        "14:23: model.position.1: sinusoidal and learned both fill the embedding slot; keep one",
    ),
    (38, "window: full", "window: 0", "13:23: model.attention.window: expected full or a number of 1 or more, got 0"),
    (38, "window: full", "window: [8, -1]", "13:27: model.attention.window.1: expected full or a number of 1 or more, got -1"),
    (
        39,
        "position: learned",
        "position: {kind: learned, max_length: 32}",
        "14:41: model.position.max_length: 32 is shorter than data.max_length = 64; write that or more",
    ),
    (40, "window: full", "window: [8, 8, 8]", "13:23: model.attention.window: a pattern of 3 entries is longer than num_layers = 2"),
    (
        36,
        "norm: layer_norm",
        "norm: layer_norm\n  parallel: yes",
        '16:13: model.parallel: "yes" is not one of none, own_norms, shared_norm',
    ),
    (37, "window: full", "bias: 3", "13:21: model.attention.bias: expected true, false or a mapping of query, key, value, output"),
    (37, "window: full", "bias: {kay: true}", "13:22: model.attention.bias.kay: unknown key; did you mean key?"),
    (37, "window: full", "rotary: [default, spin]", '13:33: model.attention.rotary.1: "spin" is not one of default, none, rotary'),
    (37, "window: full", "scale: 0", "13:22: model.attention.scale: expected a number above 0, got 0"),
    (
        37,
        "position: learned",
        "position: {kind: rotary, scaling: {kind: linear}}",
        "14:28: model.position.scaling.factor: missing; add for example factor: 4.0",
    ),
    (
        37,
        "position: learned",
        "position: {kind: learned, ids: non_padding}",
        "14:34: model.position.ids: non_padding needs to know the padding token; add padding_id",
    ),
    (
        37,
        "position: learned",
        "position: [alibi, relative]",
        "14:21: model.position.1: relative and alibi both fill the bias slot; keep one",
    ),
    (
        40,
        "norm: layer_norm",
        "norm: {kind: layer_norm, placement: post}\n  parallel: shared_norm",
        "16:13: model.parallel: shared_norm goes with norm.placement: pre, not post",
    ),
    (
        40,
        "{kind: dense, activation: gelu}",
        "{kind: mixture, num_experts: 2, experts_per_token: 3}",
        "16:68: model.feed_forward.experts_per_token: 3 is more than num_experts = 2",
    ),
    (
        40,
        "{kind: dense, activation: gelu}",
        "[dense, gated, dense]",
        "16:17: model.feed_forward: a pattern of 3 entries is longer than num_layers",
    ),
    (40, "num_layers: 2", "num_layers: 2\n  layer_groups: 3", "11:17: model.layer_groups: 3 groups of 1 are more than num_layers = 2"),
    (
        46,
        "gradient_accumulation_steps: 1",
        "gradient_accumulation_steps: 3",
        "21:15: training.batch_size: 8 is not divisible by gradient_accumulation_steps = 3; nearest: 6, 9",
    ),
    (46, "  keep: 2", "runtime: {replicas: 3}", "21:15: training.batch_size: 8 is not divisible by runtime.replicas = 3; nearest: 6, 9"),
    (47, "  keep: 2", "  precision: float16", '26:14: training.precision: "float16" is not one of auto, float32, bfloat16'),
    (
        49,
        "  keep: 2",
        "  early_stopping: {monitor: lm/f1}",
        "26:29: training.early_stopping.monitor: lm/f1 is not produced; choose from loss, lm",
    ),
    (50, "keep: 2", "keep: 0", "26:9: training.keep: expected a number of 1 or more, got 0"),
    (51, "num_layers: 2", "num_layers: 10k\n  head_dim: 4096", "8:1: model: "),
    (54, "seed: 1", "version: 2", "2:10: version: 2 is newer than this lmkit, which reads version 1; upgrade lmkit"),
    (57, "text: corpus/*.txt", "text: $HOME/*.txt", "5:17: data.train.text: environment variables are not expanded; write the path out"),
    (57, "text: corpus/*.txt", "text: [a.txt, '${DATA}/b.txt']", "5:25: data.train.text.1: environment variables are not expanded"),
    (
        58,
        "text: corpus/*.txt",
        "text: hf_" + "a1B2" * 8,
        "5:17: data.train.text: looks like a password or token; do not put secrets in specs",
    ),
    (58, "text: corpus/*.txt", "text: 'https://me:pass@host/x'", "5:17: data.train.text: looks like a password or token"),
]


@pytest.mark.parametrize(("number", "old", "new", "line"), SPOILT)
def test_a_spoilt_decoder(tmp_path: Path, number: int, old: str, new: str, line: str) -> None:
    assert DECODER.count(old) >= 1
    lines = told(tmp_path, DECODER.replace(old, new, 1))
    if number == 51:
        lines = told(tmp_path, DECODER.replace(old, new, 1).replace("hidden_size: 64", "hidden_size: 40M"))
    assert any(found.startswith(f"spec.yaml:{line}") or (not line[0].isdigit() and line in found) for found in lines), lines
    assert len(lines) <= 2


@pytest.mark.parametrize(
    ("text", "old", "new", "line"),
    [
        (ENCODER, "mask_rate: 0.15", "mask_rate: 0", "19:37: tasks.mlm.mask_rate: expected a number above 0 and below 1, got 0"),
        (ENCODER, "mask_rate: 0.15", "mask_rate: 100%", "19:37: tasks.mlm.mask_rate: expected a number above 0 and below 1, got"),
        (ENCODER, "kind: masked_lm, mask_rate: 0.15", "kind: causal_lm", "19:15: tasks.mlm.kind: causal_lm needs model.kind: decoder"),
        (DECODER, "lm: causal_lm", "lm: masked_lm", "18:9: tasks.lm.kind: masked_lm needs model.kind: encoder"),
        (ENCODER, "  validation: {text: held_out.txt}\n", "", "26:3: training.early_stopping: there is no data.validation"),
        (CLASSIFIER, "kind: classification", "kind: classification, labels: [a]", "19:41: tasks.stars.labels: classification needs two"),
        (CLASSIFIER, "kind: classification", "kind: classification, labels: [a, a]", "19:41: tasks.stars.labels: a stands twice"),
        (CLASSIFIER, "text: body, label: stars", "text: body", "19:3: tasks.stars: data.train names no label field"),
        (CLASSIFIER, "label: stars", "lable: stars", "5:52: data.train.columns.lable: unknown role lable; did you mean 'label'?"),
        (CLASSIFIER, "kind: classification", "kind: classification, data: web", "19:39: tasks.stars.data: data.train has no source web"),
        (CLASSIFIER.replace("kind: encoder", "kind: decoder"), "2", "2", "19:3: tasks.stars.pooling: the first token of a decoder"),
        (CLASSIFIER, "kind: classification", "kind: classification, pooling: eos", "19:42: tasks.stars.pooling: eos needs the id"),
        (CLASSIFIER, "kind: classification", "kind: classification, pooler: none, pooler_norm: true", "19:60: tasks.stars.pooler_norm:"),
        (CLASSIFIER, "kind: classification", "kind: token_classification", "19:3: tasks.stars: data.train names no tags field"),
        (CLASSIFIER, "kind: classification", "kind: sentence_embedding", "19:3: tasks.stars: data.train names no text_pair field"),
        (CLASSIFIER, "kind: classification", "kind: sentence_embedding, negatives: 7", "tasks.stars.negatives: batch_size = "),
        (
            CLASSIFIER.replace("dropout: 0.1", "dropout: 0.0"),
            "kind: classification",
            "kind: sentence_embedding, loss: simcse",
            "tasks.stars.loss: simcse tells a text from itself",
        ),
        (CLASSIFIER, "kind: classification", "kind: sentence_embedding, loss: cosine, negatives: 8", "tasks.stars.negatives: loss: cosine"),
        (
            ENCODER,
            "kind: masked_lm, mask_rate: 0.15",
            "kind: replaced_token",
            "19:3: tasks.mlm: replaced_token learns from what a",
        ),
        (
            ENCODER.replace("hidden_size: 64", "hidden_size: 60").replace("num_heads: 4", "num_heads: 6").replace("learned", "rotary"),
            "kind: masked_lm, mask_rate: 0.15",
            "kind: replaced_token, generator: {hidden_size: 25%}",
            "19:56: tasks.mlm.generator.hidden_size: a generator of 15 channels cannot be built: rotary turns pairs",
        ),
        (
            DOUBTFUL,
            "  validation: {squad: b.json}\n",
            "",
            "17:61: tasks.qa.no_answer_threshold: auto needs answers of data.validation",
        ),
        (DOUBTFUL, "keep: 2", "evaluate_documents: 0", "18:61: tasks.qa.no_answer_threshold: auto needs answers of data.validation"),
        (DOUBTFUL, "threshold: auto", "threshold: 2", "18:61: tasks.qa.no_answer_threshold: expected"),
        (CLASSIFIER, "stars: {", "2 stars: {", "19:3: tasks.2 stars: expected a name of letters, digits, _ or -"),
        (CLASSIFIER, "{csv: a.csv, ", "{csv: a.csv, jsonl: b, ", "exclude each other here; keep one"),
    ],
)
def test_a_spoilt_encoder_or_classifier(tmp_path: Path, text: str, old: str, new: str, line: str) -> None:
    lines = told(tmp_path, text.replace(old, new, 1))
    assert any(found.startswith(f"spec.yaml:{line}") or (not line[0].isdigit() and line in found) for found in lines), lines


def test_next_sentence_needs_documents_of_several_sentences(tmp_path: Path) -> None:
    text = ENCODER.replace("mlm: {kind: masked_lm, mask_rate: 0.15}", "mlm: masked_lm\n  nsp: next_sentence")
    text = text.replace("{text: corpus/*.txt}", "{text: corpus/*.txt, document: line, sentence: line}")
    assert told(tmp_path, text) == [
        "spec.yaml:5:41: data.train.document: next_sentence needs several sentences a document, a line has one; write blank_line or file"
    ]


def test_the_example_of_the_design_says_all_its_problems_at_once(tmp_path: Path) -> None:
    text = (
        DECODER.replace("hidden_size: 64", "hidden_size: 500")
        .replace("num_heads: 4", "num_head: 8")
        .replace("batch_size: 8", "batch_size: big")
    )
    assert told(tmp_path, text) == [
        "spec.yaml:11:16: model.hidden_size: 500 is not divisible by num_heads = 8; nearest: 496, 504",
        "spec.yaml:12:3: model.num_head: unknown key; did you mean num_heads?",
        'spec.yaml:21:15: training.batch_size: expected a whole number, got "big"',
    ]


def test_a_rule_between_keys_never_judges_a_value_that_was_made_up(tmp_path: Path) -> None:
    text = DECODER.replace("hidden_size: 64", "hidden_size: 62").replace("num_heads: 4", "num_heads: many")
    assert told(tmp_path, text) == ['spec.yaml:12:14: model.num_heads: expected a whole number, got "many"']


def test_a_broken_section_hides_no_other_problem(tmp_path: Path) -> None:
    text = DECODER.replace("tokenizer: {kind: bpe, vocab_size: 500}", "tokenizer: 7").replace("warmup: 10 steps", "warmup: 1k steps")
    assert [line.split(": ")[1] for line in told(tmp_path, text)] == ["tokenizer", "training.optimizer.learning_rate.warmup"]


def test_at_most_twenty_problems_are_told(tmp_path: Path) -> None:
    assert len(told(tmp_path, DECODER + "".join(f"wrong_{i}: 1\n" for i in range(40)))) == 20


def test_a_learning_rate_above_one_is_a_warning_and_strict_makes_it_an_error(tmp_path: Path) -> None:
    text = DECODER.replace("peak: 1e-3", "peak: 1.5")
    (warning,) = accepted(tmp_path, text).warnings
    assert warning.where.endswith(":25:41") and "above 1" in warning.what
    assert "above 1" in told(tmp_path, text, strict=True)[0]


def test_the_same_file_for_training_and_validation_is_a_warning(tmp_path: Path) -> None:
    text = DECODER.replace("held_out.txt", "corpus/*.txt")
    (warning,) = accepted(tmp_path, text).warnings
    assert warning.key == "data.validation" and "corpus/*.txt is in data.train too" in warning.what
    assert len(told(tmp_path, text, strict=True)) == 1


def test_a_validation_file_is_for_the_tasks_whose_fields_it_names_and_check_says_which_are_left(tmp_path: Path) -> None:
    held = "  validation: {csv: b.csv, columns: {text: body, label: stars}}\n"
    other = "{csv: c.csv, columns: {text: body, text_pair: other, value: score}}"
    both = CLASSIFIER.replace("  train: {csv", f"  train: {{b: {other}, a: {{csv").replace("stars}}\n  val", "stars}}}\n  val")
    both = both.replace("stars: {kind: classification}", "stars: {kind: classification, data: a}\n  score: {kind: regression, data: b}")
    loaded = accepted(tmp_path, both)
    assert [warning.what.split(";")[0] for warning in loaded.warnings] == ["names no value field, so score is not evaluated"]
    assert loaded.spec.monitors() == ["loss", "stars/loss", "stars/accuracy"]
    (line,) = told(tmp_path, CLASSIFIER.replace(held, "  validation: {text: held_out.txt}\n").replace("stars/accuracy", "loss"))
    assert line.endswith("data.validation: names no field that a task is evaluated by; add there columns: {text: ..., label: ...}")


def test_a_window_beyond_the_context_counts_as_full_and_says_so(tmp_path: Path) -> None:
    loaded = accepted(tmp_path, DECODER.replace("window: full", "window: [8, 64]"))
    assert "the same as full" in loaded.origins["model", "attention", "window", 1]
    assert "the same as full" not in loaded.origins["model", "attention", "window", 0]


def test_a_tilde_is_the_home(tmp_path: Path) -> None:
    loaded = accepted(tmp_path, DECODER.replace("corpus/*.txt", "~/corpus/*.txt"))
    assert loaded.spec.data.train["train"].paths == (str(Path.home() / "corpus/*.txt"),)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.batch_siz=3", "command line argument 1: training.batch_siz: unknown key; did you mean batch_size?"),
        ("training.batch_size=big", 'command line argument 1: training.batch_size: expected a whole number, got "big"'),
        ("training.batch_size=", "command line argument 1: training.batch_size: no value after =; write null to go back to the default"),
        ("training.batch_size", 'command line argument 1: "training.batch_size" is no override; write key.path=value'),
        ("=3", 'command line argument 1: "=3" is no override; write key.path=value'),
        ("training.steps=010", "command line argument 1: training.steps: ambiguous number 010"),
        ("training.steps=[1", "command line argument 1: training.steps: [1: "),
        ("model.hidden_size=65", "command line argument 1: model.hidden_size: 65 is not divisible by num_heads = 4; nearest: 64, 68"),
        ("model.num_heads=5", "spec.yaml:11:16: model.hidden_size: 64 is not divisible by num_heads = 5; nearest: 60, 65"),
        ("training.keep=&a 3", "command line argument 1: training.keep: anchors and aliases (&a) are not supported"),
        ("modle.num_heads=4", "command line argument 1: modle: unknown key; did you mean model?"),
    ],
)
def test_56_an_override_gets_the_same_checks_and_its_argument_is_named(tmp_path: Path, override: str, line: str) -> None:
    (found,) = told(tmp_path, DECODER, override)
    assert found.startswith(line)


def test_an_encoder_decoder_that_reads_well(tmp_path: Path) -> None:
    model = accepted(tmp_path, BESIDE).spec.model
    assert (model.encoder.num_layers, model.decoder.num_layers) == (3, 2)
    assert accepted(tmp_path, BESIDE.replace("  num_layers: 2\n", "").replace("{norm:", "{num_layers: 1, norm:"))


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("start_id: 0", "final_norm: true", "22:17: tasks.stars.kind: classification reads the decoder, which must know its first token"),
        ("pooling: last", "pooling: first", "22:42: tasks.stars.pooling: the first token of a decoder has seen nothing else"),
        ("kind: classification, pooling: last", "kind: masked_lm", "22:17: tasks.stars.kind: masked_lm needs model.kind: encoder"),
        ("  num_layers: 2\n", "", "12:3: model.decoder: missing num_layers; add num_layers: 6 here, or under decoder"),
        ("{num_layers: 3}", "{num_layer: 3}", "11:13: model.encoder.num_layer: unknown key; did you mean num_layers?"),
        ("{num_layers: 3}", "{tie_embeddings: all}", "11:13: model.encoder.tie_embeddings: unknown key here; it belongs under model"),
        ("{num_layers: 3}", "{num_layers: 0}", "11:25: model.encoder.num_layers: expected a number from 1 to 10000, got 0"),
        ("{norm: rms_norm}", "{norm: rms}", '12:19: model.decoder.norm: "rms" is not one of layer_norm, rms_norm'),
        ("{norm: rms_norm}", "{num_heads: 3}", "14:16: model.hidden_size: 64 is not divisible by num_heads = 3"),
        ("{norm: rms_norm}", "{attention: {window: [1, 2, 3]}}", "12:33: model.decoder.attention.window: a pattern of 3 entries"),
        ("{norm: rms_norm}", "{parallel: own_norms}", "12:23: model.decoder.parallel: the decoder's parts"),
        ("start_id: 0", "tie_embeddings: true", "10:19: model.tie_embeddings: "),
    ],
)
def test_a_spoilt_encoder_decoder(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in BESIDE
    lines = told(tmp_path, BESIDE.replace(old, new, 1))
    assert any(found.startswith(f"spec.yaml:{line}") for found in lines), lines
