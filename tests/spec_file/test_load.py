"""extends, overrides, origins, derived defaults, and the way back from a resolved spec."""

from pathlib import Path

import pytest

from lmkit.attention.spec import Biases
from lmkit.data.spec import Csv, TextFiles
from lmkit.errors import SpecError
from lmkit.models.spec import Decoder, Encoder, FromRun
from lmkit.positions.spec import Learned, Rotary
from lmkit.spec_file.load import Loaded, load, plain_words, resolved_text
from lmkit.spec_file.recipes import recipes

BASE = """\
name: base
tokenizer: {kind: bpe, vocab_size: 500}
data: {train: {text: a.txt}, validation: {holdout: 1%}, max_length: 64}
model: {kind: decoder, num_layers: 4, hidden_size: 64, num_heads: 4, attention: {window: [8, full]},
  norm: {kind: layer_norm, epsilon: 1e-6}}
tasks: {lm: causal_lm}
training: {steps: 100, batch_size: 8, optimizer: {kind: adamw, clip_norm: 0.5, learning_rate: {kind: cosine, peak: 1e-3, warmup: 10%}}}
"""


def written(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def extended(folder: Path, text: str, *overrides: str) -> Loaded:
    return load(written(folder, base=BASE, spec="extends: base.yaml\nname: child\n" + text), overrides)


def test_an_extending_file_changes_only_what_it_names(tmp_path: Path) -> None:
    spec = extended(tmp_path, "model: {num_layers: 2}\n").spec
    assert isinstance(spec.model, Decoder)
    assert (spec.name, spec.model.num_layers, spec.model.hidden_size) == ("child", 2, 64)


def test_lists_are_replaced(tmp_path: Path) -> None:
    spec = extended(tmp_path, "model: {attention: {window: [16]}}\n").spec
    assert isinstance(spec.model, Decoder) and spec.model.attention.window == (16,)


def test_null_in_an_extending_file_goes_back_to_the_default(tmp_path: Path) -> None:
    assert extended(tmp_path, "training: {optimizer: {clip_norm: null}}\n").spec.training.optimizer.clip_norm == 1.0
    assert extended(tmp_path, "seed: null\n").spec.seed == 0


@pytest.mark.parametrize(
    ("text", "overrides", "line"),
    [
        ("model:\n  hidden_size: null\n", [], "spec.yaml:4:16: model.hidden_size: {}; write for example hidden_size: "),
        ("data:\n", [], "spec.yaml:3:6: data: {}; write for example data: {{train: "),
        ("seed: 3\n", ["training.batch_size=null"], "command line argument 1: training.batch_size: {}; write for example batch_size: "),
        ("tasks: {lm: null}\n", [], "spec.yaml:3:8: tasks: is empty; write for example tasks: {{lm: causal_lm}}"),
    ],
)
def test_a_null_that_takes_away_what_is_needed_is_where_that_is_said(tmp_path: Path, text: str, overrides: list[str], line: str) -> None:
    with pytest.raises(SpecError) as error:
        extended(tmp_path, text, *overrides)
    assert len(error.value.problems) == 1 and line.format("is null (or empty) and has no default") in str(error.value)


def test_named_sources_take_the_place_of_one_and_one_that_of_named_ones(tmp_path: Path) -> None:
    named = "data: {train: {a: {text: a.txt}, b: {csv: b.csv, columns: {text: body}}}}\n"
    assert list(extended(tmp_path, named).spec.data.train) == ["a", "b"]
    assert list(extended(tmp_path, "seed: 3\n", "data.train.c.text=c.txt").spec.data.train) == ["c"]
    written(tmp_path, base=BASE, between="extends: base.yaml\n" + named)
    for text, names in (("{text: c.txt}", ["train"]), ("{c: {text: c.txt}}", ["a", "b", "c"]), ("{b: {columns: {text: t}}}", ["a", "b"])):
        assert list(load(written(tmp_path, spec=f"extends: between.yaml\ndata: {{train: {text}}}\n")).spec.data.train) == names
    written(tmp_path, table="extends: base.yaml\ndata: {train: {csv: a.csv, columns: {text: a}}}\n")
    with pytest.raises(SpecError, match=r"data.train.colums: unknown key; did you mean columns\?"):
        load(tmp_path / "table.yaml", ["data.train.colums.text=body"])


def test_what_a_null_took_away_can_be_given_again(tmp_path: Path) -> None:
    written(tmp_path, base=BASE, between="extends: base.yaml\nmodel: {hidden_size: null}\n")
    assert load(written(tmp_path, spec="extends: between.yaml\nmodel: {hidden_size: 32}\n")).spec.model.hidden_size == 32
    with pytest.raises(SpecError, match=r"between.yaml:2:22: model.hidden_size: is null"):
        load(written(tmp_path, spec="extends: between.yaml\n"))


def test_off_and_a_plain_null_turn_clipping_off(tmp_path: Path) -> None:
    assert extended(tmp_path, "training: {optimizer: {clip_norm: off}}\n").spec.training.optimizer.clip_norm is None
    assert load(written(tmp_path, spec=BASE.replace("clip_norm: 0.5", "clip_norm: null"))).spec.training.optimizer.clip_norm is None


def test_another_variant_replaces_the_old_one_whole(tmp_path: Path) -> None:
    spec = extended(tmp_path, "model: {norm: {kind: rms_norm}}\ndata: {train: {csv: b.csv}}\n").spec
    assert isinstance(spec.model, Decoder) and spec.model.norm.kind == "rms_norm"
    assert spec.model.norm.epsilon == type(spec.model.norm)().epsilon
    assert isinstance(spec.data.train["train"], Csv)


def test_a_mapping_over_a_word_keeps_the_word_as_its_kind(tmp_path: Path) -> None:
    base = BASE.replace("norm: {kind: layer_norm, epsilon: 1e-6}", "position: rotary")
    spec = load(written(tmp_path, spec=base), ["model.position.base=5e5"]).spec
    assert isinstance(spec.model, Decoder) and spec.model.position == (Rotary(base=5e5),)


def test_extends_is_relative_to_the_file_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    written(tmp_path, base=BASE)
    spec = written(tmp_path / "deep", middle="extends: ../base.yaml\nseed: 3\n", spec="extends: middle.yaml\nname: child\n")
    monkeypatch.chdir("/")
    assert (load(spec).spec.seed, load(spec).spec.name) == (3, "child")


def test_a_problem_in_a_base_names_the_base(tmp_path: Path) -> None:
    path = written(tmp_path, base=BASE.replace("num_layers: 4", "num_layers: four"), spec="extends: base.yaml\nnaem: x\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    places = [problem.where.removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert places == ["base.yaml:4:36", "spec.yaml:2:1"]


def test_extends_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, one="extends: two.yaml\n", two="extends: one.yaml\n")
    with pytest.raises(SpecError, match="the chain of extends comes back to itself"):
        load(path)


def test_extends_of_an_absent_file_is_told_at_the_key(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"spec\.yaml:1:10: extends: .*none\.yaml cannot be read: no such file"):
        load(written(tmp_path, spec="extends: none.yaml\n"))


def test_overrides_are_yaml_split_at_the_first_equals_sign_and_the_last_wins(tmp_path: Path) -> None:
    path = written(tmp_path, spec=BASE)
    overrides = ["training.batch_size=512", "training.batch_size=256", "data.train.text=[a=b.txt, c.txt]", "logging.samples=['x: y']"]
    spec = load(path, overrides).spec
    source = spec.data.train["train"]
    assert isinstance(source, TextFiles) and [Path(p).name for p in source.text] == ["a=b.txt", "c.txt"]
    assert (spec.training.batch_size, spec.logging.samples) == (256, ("x: y",))


def test_an_override_reaches_into_a_list_by_index(tmp_path: Path) -> None:
    path = written(tmp_path, spec=BASE)
    spec = load(path, ["model.attention.window.1=16"]).spec
    assert isinstance(spec.model, Decoder) and spec.model.attention.window == (8, 16)
    with pytest.raises(SpecError, match=r"model\.attention\.window is a list of 2"):
        load(path, ["model.attention.window.2=16"])


def test_an_override_of_null_goes_back_to_the_default(tmp_path: Path) -> None:
    assert load(written(tmp_path, spec=BASE), ["training.optimizer.clip_norm=null"]).spec.training.optimizer.clip_norm == 1.0


def test_the_origin_of_every_value_is_known(tmp_path: Path) -> None:
    loaded = extended(tmp_path, "model: {num_layers: 2}\n", "training.keep=3")
    origins = {path: text.replace(f"{tmp_path}/", "") for path, text in loaded.origins.items()}
    assert origins["name",] == "spec.yaml:2:7"
    assert origins["model", "num_layers"] == "spec.yaml:3:21"
    assert origins["model", "hidden_size"] == "base.yaml:4:52"
    assert origins["training", "keep"] == "command line argument 1"
    assert origins["seed",] == "default"
    assert origins["model", "head_dim"] == "default: hidden_size / num_heads"
    assert origins["model", "attention", "window"] == "base.yaml:4:90"
    assert origins["tasks", "lm", "kind"] == "base.yaml:6:13"
    assert origins["tasks", "lm", "weight"] == "default"
    assert origins["data", "train", "train", "text"] == "base.yaml:3:22"
    assert origins["data", "train", "train", "sentence"] == "default"
    assert origins["training", "optimizer", "learning_rate", "peak"] == "base.yaml:7:116"


def model_of(folder: Path, text: str) -> Decoder | Encoder:
    model = load(written(folder, spec=text)).spec.model
    assert not isinstance(model, FromRun)
    return model


def test_nothing_is_left_open_in_a_resolved_model(tmp_path: Path) -> None:
    model = model_of(tmp_path, BASE)
    assert (model.num_kv_heads, model.head_dim, model.bias, model.embedding_norm, model.token_types) == (4, 16, True, False, 0)
    assert (model.attention.bias, model.attention.dropout) == (Biases(query=True, key=True, value=True, output=True), 0.0)
    assert (model.feed_forward[0].intermediate_size, model.feed_forward[0].bias) == (256, True)
    assert isinstance(model.position[0], Learned) and model.position[0].max_length == 64


def test_the_norm_decides_biases_and_the_embedding_norm(tmp_path: Path) -> None:
    model = model_of(tmp_path, BASE.replace("norm: {kind: layer_norm, epsilon: 1e-6}", "norm: {kind: rms_norm, placement: post}"))
    assert (model.bias, model.attention.bias.any(), model.embedding_norm, model.final_norm) == (False, False, True, False)


def test_a_gated_width_is_eight_thirds_to_a_multiple_of_64(tmp_path: Path) -> None:
    model = model_of(tmp_path, BASE.replace("hidden_size: 64", "hidden_size: 512, feed_forward: gated"))
    assert model.feed_forward[0].intermediate_size == 1408


def test_pairs_bring_token_types_and_forbid_packing(tmp_path: Path) -> None:
    text = BASE.replace("kind: decoder", "kind: encoder").replace("{lm: causal_lm}", "{mlm: masked_lm, nsp: next_sentence}")
    loaded = load(written(tmp_path, spec=text))
    assert isinstance(loaded.spec.model, Encoder) and loaded.spec.model.token_types == 2
    assert loaded.spec.data.packing is False
    assert load(written(tmp_path, spec=BASE)).spec.data.packing is True


@pytest.mark.parametrize(
    ("length", "every"),
    [("steps: 100", "10 steps"), ("steps: 5", "1 steps"), ("epochs: 3", "0.3 epochs"), ("tokens: 1M", "195 steps")],
)
def test_evaluation_comes_ten_times_over_the_run(tmp_path: Path, length: str, every: str) -> None:
    assert str(load(written(tmp_path, spec=BASE.replace("steps: 100", length))).spec.training.evaluate_every) == every


def test_without_validation_data_nothing_is_evaluated(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, spec=BASE.replace("validation: {holdout: 1%}, ", "")))
    assert loaded.spec.training.evaluate_every is None


def test_data_paths_become_absolute_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    path = written(tmp_path / "specs", spec=BASE)
    monkeypatch.chdir(tmp_path)
    assert load(path).spec.data.train["train"].paths == (str(tmp_path / "a.txt"),)


ODD = [
    "1e-4",
    "no",
    "0x1F",
    "010",
    "1:30",
    "2024-01-01",
    "null",
    "~",
    "",
    " ",
    "a: b",
    "- a",
    "a #b",
    '"',
    "'",
    "\\",
    "é",
    "\u2028",
    "\x7f",
    "a\nb",
    "*a",
]


def test_a_resolved_spec_reads_back_equal(tmp_path: Path) -> None:
    samples = (
        BASE
        + "logging: {samples: ["
        + ", ".join(
            '"'
            + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\x7f", "\\x7f").replace("\u2028", "\\u2028")
            + '"'
            for text in ODD
        )
        + "]}\n"
    )
    first = load(written(tmp_path, spec=samples)).spec
    assert list(first.logging.samples) == ODD
    again = load(written(tmp_path, resolved=resolved_text(first)))
    assert again.spec == first
    assert resolved_text(again.spec) == resolved_text(first)


@pytest.mark.parametrize("name", sorted(recipes()))
def test_every_shipped_spec_reads_back_equal_from_its_resolved_text(tmp_path: Path, name: str) -> None:
    first = load(recipes()[name], strict=True).spec
    assert load(written(tmp_path, resolved=resolved_text(first))).spec == first


def test_plain_words_refuses_what_is_no_mapping() -> None:
    assert plain_words("a: {b: [1, x]}") == {"a": {"b": [1, "x"]}}
    for text in ("", "- a", "a: [", "a: &x 1", "a: 1\na: 2"):
        with pytest.raises(ValueError):
            plain_words(text)
