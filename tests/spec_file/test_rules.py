"""Specs that read well and mean nothing sensible: each gets its key, its place, and its fix (the catalogue of bad input has more)."""

import importlib.util
from pathlib import Path

import pytest

from lmkit.errors import SpecError
from lmkit.spec_file.load import Loaded, load

loader = importlib.util.spec_from_file_location("specs", Path(__file__).parents[1] / "catalogue" / "specs.py")
assert loader is not None and loader.loader is not None
specs = importlib.util.module_from_spec(loader)
loader.loader.exec_module(specs)
VALID, DECODER, ENCODER, CLASSIFIER, BESIDE = specs.VALID, specs.DECODER, specs.ENCODER, specs.CLASSIFIER, specs.BESIDE
DOUBTFUL = (
    DECODER.replace("kind: decoder", "kind: encoder")
    .replace("{text: corpus/*.txt}", "{squad: a.json}")
    .replace("{text: held_out.txt}", "{squad: b.json}")
    .replace("lm: causal_lm", "qa: {kind: question_answering, no_answer_threshold: auto}")
)


def told(folder: Path, text: str) -> list[str]:
    path = folder / "spec.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load(path)
    return [str(problem).replace(str(path), "spec.yaml") for problem in caught.value.problems]


def accepted(folder: Path, text: str) -> Loaded:
    path = folder / "spec.yaml"
    path.write_text(text)
    return load(path)


@pytest.mark.parametrize("text", [VALID, DECODER, ENCODER, CLASSIFIER])
def test_the_specs_that_are_spoilt_below_are_right(tmp_path: Path, text: str) -> None:
    assert accepted(tmp_path, text).warnings == ()


@pytest.mark.parametrize(
    ("text", "old", "new", "line"),
    [
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
        (
            DECODER,
            "max_length: 64",
            "max_length: 64\n  chat_template: chatlm",
            'data.chat_template: "chatlm" is not one of chatml, zephyr, plain',
        ),
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
    ],
)
def test_a_spoilt_encoder_decoder(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in BESIDE
    lines = told(tmp_path, BESIDE.replace(old, new, 1))
    assert any(found.startswith(f"spec.yaml:{line}") for found in lines), lines


def test_keys_are_words(tmp_path: Path) -> None:
    assert told(tmp_path, VALID + "[a]: 1\n") == ["spec.yaml:7:1: a key must be a word, not a list or mapping"]


def test_all_problems_of_the_text_and_of_its_meaning_come_together(tmp_path: Path) -> None:
    text = VALID.replace("hidden_size: 32", "hiden_size: 33").replace("steps: 10", "steps: 010") + "name: again\n"
    assert [line.split(": ", 2)[1] for line in told(tmp_path, text)] == [
        "model.hiden_size",
        "model.hidden_size",
        "training.steps",
        "name",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("hidden_size: 32", "hidden_size: 1T", "model.hidden_size"),
        ("num_heads: 4", "num_heads: 4, token_types: 99999999999999999999", "model.token_types"),
        ("hidden_size: 32", "hidden_size: 10M", "model"),
    ],
)
def test_a_model_that_is_too_large_is_told_at_the_number_that_makes_it_so(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in VALID
    (found,) = told(tmp_path, VALID.replace(old, new))
    assert found.split(": ")[1] == line and "this machine has" in found
