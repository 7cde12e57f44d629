"""Folders in, runs, and folders out again: every verb opens what was imported, and what is exported opens with the same logits."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes, read_header
from lmkit.cli import main

FOLDERS = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders"
TEXTS = "text,label\nthe quick brown fox,a\nthe lazy dog,b\n"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(one: Path, other: Path) -> bool:
    ours, theirs = read_header(one), read_header(other)
    return ours.keys() == theirs.keys() and all(
        (ours[key].dtype, ours[key].shape) == (theirs[key].dtype, theirs[key].shape)
        and ours[key].read().tobytes() == theirs[key].read().tobytes()
        for key in ours
    )


@pytest.mark.parametrize("name", ["bert_gammabeta", "gpt2_hub_layout", "mistral_swa", "minilm_st", "t5"])
def test_a_folder_that_was_imported_is_exported_file_by_file(capsys, home, name) -> None:
    assert main(["import", str(FOLDERS / name), "run"]) == 0
    assert main(["export", "run", "out", "--verify"]) == 0
    said = lines(capsys)
    assert any(line.startswith("read again: ") and "differs by 0.0e+00" in line for line in said)
    for path in (FOLDERS / name).rglob("*"):
        if path.suffix == ".safetensors":
            assert same(path, home / "out" / path.name)
        elif path.is_file() and path.name not in ("reference.npz", "tokenizer_cases.json"):
            assert (home / "out" / path.relative_to(FOLDERS / name)).read_bytes() == path.read_bytes()


def test_a_tied_head_that_stands_in_the_file_comes_out_again(capsys, home) -> None:
    shutil.copytree(FOLDERS / "smollm2", home / "folder")
    path = home / "folder" / "model.safetensors"
    stored = read_header(path)
    tensors = {**stored, "lm_head.weight": stored["model.embed_tokens.weight"]}
    data = [one.read().tobytes() for one in tensors.values()]
    path.write_bytes(header_bytes([(key, one.dtype, one.shape) for key, one in tensors.items()]) + b"".join(data))
    assert main(["import", "folder", "run"]) == 0
    assert main(["export", "run", "out", "--verify"]) == 0
    assert "lm_head.weight" in read_header(home / "out" / "model.safetensors")
    assert same(path, home / "out" / "model.safetensors")


HABITS = [*(("eos_token_id", value) for value in ("x", -5, 99999, 1.5)), ("num_beams", 0), ("max_new_tokens", "a")]


@pytest.mark.parametrize("file", ["config.json", "generation_config.json"])
def test_a_folder_that_generate_refuses_for_how_it_writes_is_not_imported(capsys, home, file) -> None:
    for key, value in HABITS:
        shutil.copytree(FOLDERS / "smollm2", home / "folder", dirs_exist_ok=True)
        (home / "folder" / "generation_config.json").unlink(missing_ok=True)
        said = json.loads((home / "folder" / file).read_text()) if file == "config.json" else {}
        (home / "folder" / file).write_text(json.dumps(said | {key: value}))
        assert main(["import", "folder", "run"]) == 4
        message = capsys.readouterr().err
        assert main(["generate", "folder", "--max-tokens", "1"]) == 4
        for said_of_it in (message, capsys.readouterr().err):
            assert file in said_of_it and key in said_of_it and str(value) in said_of_it
        assert [path.name for path in home.iterdir()] == ["folder"]


def test_how_a_model_that_cannot_write_would_write_does_not_matter(home) -> None:
    shutil.copytree(FOLDERS / "bert_gammabeta", home / "folder")
    config = json.loads((home / "folder" / "config.json").read_text())
    (home / "folder" / "config.json").write_text(json.dumps(config | {"eos_token_id": 99999}))
    assert main(["import", "folder", "run"]) == 0


def test_a_folder_answers_as_the_run_that_was_imported_from_it(capsys, home) -> None:
    assert main(["import", str(FOLDERS / "bert_gammabeta"), "run"]) == 0
    lines(capsys)
    answers = []
    for model in (str(FOLDERS / "bert_gammabeta"), "run"):
        assert main(["predict", model, "--text", "The [MASK] fox", "--json"]) == 0
        answers.append(json.loads(lines(capsys)[0]))
    assert answers[0] == answers[1]
    assert len(answers[0]["mlm"]["masks"][0]) == 5


def test_an_imported_model_is_evaluated_on_a_file_that_is_named(capsys, home) -> None:
    (home / "texts.csv").write_text(TEXTS.replace(",a", ",LABEL_0").replace(",b", ",LABEL_2"))
    assert main(["evaluate", str(FOLDERS / "llama_seqcls"), "--data", "texts.csv", "--json"]) == 0
    figures = json.loads(lines(capsys)[0])["figures"]
    assert figures["classification/accuracy"] in (0.0, 0.5, 1.0)
    assert main(["evaluate", str(FOLDERS / "llama_seqcls")]) == 3
    assert "brings no text; name a file with --data" in capsys.readouterr().err
    assert sorted(path.name for path in FOLDERS.iterdir() if path.name.startswith(".")) == []


SPEC = """
name: tuned
model: {from: %s}
data: {train: {csv: texts.csv, columns: {text: text, label: label}}, max_length: 24}
tasks: {mood: classification}
training: {steps: 2, batch_size: 2, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""


def test_training_from_a_folder_and_from_its_import_is_the_same(capsys, home) -> None:
    (home / "texts.csv").write_text(TEXTS)
    assert main(["import", str(FOLDERS / "bert_qa"), "imported"]) == 0
    for run, source in (("straight", FOLDERS / "bert_qa"), ("by-run", "imported")):
        (home / "spec.yaml").write_text(SPEC % source)
        assert main(["train", "spec.yaml", "--run-dir", run]) == 0
    one, other = (next((home / run / "checkpoints").glob("*/model-*.safetensors")) for run in ("straight", "by-run"))
    assert same(one, other)
    capsys.readouterr()
    assert main(["export", "straight", "out", "--verify"]) == 0
    config = json.loads((home / "out" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "a", "1": "b"}
    capsys.readouterr()
    probabilities = []
    for model in ("straight", "out"):
        assert main(["predict", model, "--text", "the quick brown fox", "--json"]) == 0
        answer = json.loads(lines(capsys)[0])
        probabilities.append(list(next(value for key, value in answer.items() if key != "text")["probabilities"].values()))
    np.testing.assert_allclose(*probabilities, rtol=1e-5)


def test_what_was_trained_from_a_folder_is_written_in_full_and_as_its_family(capsys, home) -> None:
    (home / "texts.csv").write_text(TEXTS)
    tasks = SPEC.replace("mood: classification", "lm: causal_lm").replace(", label: label", "")
    for source in (str(FOLDERS / "mistral_swa"), "imported"):
        assert source != "imported" or main(["import", str(FOLDERS / "mistral_swa"), source]) == 0
        (home / "spec.yaml").write_text(tasks % source)
        assert main(["train", "spec.yaml", "--run-dir", "run"]) == 0
        assert main(["export", "run", "out", "--verify"]) == 0
        assert json.loads((home / "out" / "config.json").read_text())["model_type"] == "mistral"
        assert {stored.dtype for path in (home / "out").glob("*.safetensors") for stored in read_header(path).values()} == {"F32"}
        shutil.rmtree("run")
        shutil.rmtree("out")


OWN = """
name: own
tokenizer: {kind: bpe, vocab_size: 280}
data: {train: {builtin: python_reference}, max_length: 32}
model: {kind: decoder, num_layers: 2, hidden_size: 24, num_heads: 4, %s}
tasks: {lm: causal_lm}
training: {steps: 1, batch_size: 2, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""
LLAMA = "num_kv_heads: 2, position: rotary, norm: rms_norm, feed_forward: {kind: gated, intermediate_size: 40}, tie_embeddings: false"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("position: learned, feed_forward: {kind: dense, activation: gelu_tanh}", "GPT2LMHeadModel"),
        (LLAMA, "LlamaForCausalLM"),
        (f"{LLAMA}, attention: {{window: 8}}", "MistralForCausalLM"),
        (f"{LLAMA}, attention: {{qk_norm: head}}", "Qwen3ForCausalLM"),
        ("position: alibi, embedding_norm: true, feed_forward: {kind: dense, activation: gelu_tanh}", "BloomForCausalLM"),
    ],
    ids=lambda value: value if value.endswith("LM") or value.endswith("Model") else "",
)
def test_a_model_of_yaml_alone_is_exported_as_the_family_that_can_say_it(capsys, home, words, name) -> None:
    (home / "spec.yaml").write_text(OWN % words)
    assert main(["train", "spec.yaml"]) == 0
    assert main(["export", "runs/own", "out", "--verify"]) == 0
    assert json.loads((home / "out" / "config.json").read_text())["architectures"] == [name]


def test_a_model_that_no_family_can_say_is_refused_by_the_word(capsys, home) -> None:
    (home / "spec.yaml").write_text(OWN % f"{LLAMA}, attention: {{window: [4, full]}}, final_norm: false")
    assert main(["train", "spec.yaml"]) == 0
    capsys.readouterr()
    assert main(["export", "runs/own", "out"]) == 4
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1 and said.startswith("model: ") and "cannot be said by" in said
    assert not (home / "out").exists()


def test_weights_are_rounded_where_that_is_asked_for(capsys, home) -> None:
    assert main(["export", str(FOLDERS / "llama_seqcls"), "out", "--dtype", "bfloat16", "--verify"]) == 0
    assert {stored.dtype for stored in read_header(home / "out" / "model.safetensors").values()} == {"BF16"}
    assert json.loads((home / "out" / "config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize(("dtype", "code"), [("stored", "BF16"), ("bfloat16", "BF16"), ("float16", "F16"), ("float32", "F32")])
def test_a_run_holds_its_weights_in_the_dtype_that_was_chosen(capsys, home, dtype, code) -> None:
    assert main(["import", str(FOLDERS / "mistral_swa"), "run", "--dtype", dtype]) == 0
    held = [stored for path in (home / "run" / "checkpoints").glob("*/model-*") for stored in read_header(path).values()]
    assert {stored.dtype for stored in held} == {code}
    assert main(["export", "run", "out", "--verify"]) == 0
    for path in (FOLDERS / "mistral_swa").glob("*.safetensors"):
        assert dtype == "float16" or same(path, home / "out" / path.name)
    assert main(["generate", "run", "The quick", "--max-tokens", "3", "--greedy", "--dtype", "stored"]) == 0


@pytest.mark.parametrize("name", ["bert_gammabeta", "gpt2_hub_layout", "t5"])
def test_what_is_held_as_it_was_stored_is_exported_as_it_was_stored(capsys, home, name) -> None:
    assert main(["import", str(FOLDERS / name), "run", "--dtype", "stored"]) == 0
    assert main(["export", "run", "out"]) == 0
    assert all(same(path, home / "out" / path.name) for path in (FOLDERS / name).glob("*.safetensors"))


def test_a_run_that_float16_cannot_hold_is_not_made(capsys, home) -> None:
    shutil.copytree(FOLDERS / "bert_qa", home / "folder")
    path = home / "folder" / "model.safetensors"
    stored = read_header(path)
    data = [(one.read() * (1e6 if key.endswith("word_embeddings.weight") else 1)).tobytes() for key, one in stored.items()]
    path.write_bytes(header_bytes([(key, one.dtype, one.shape) for key, one in stored.items()]) + b"".join(data))
    assert main(["import", "folder", "run", "--dtype", "float16"]) == 4
    assert capsys.readouterr().err == "embeddings.token.embedding has values that float16 cannot hold; choose bfloat16 or float32\n"
    assert sorted(path.name for path in home.iterdir()) == ["folder"]


def test_training_goes_on_in_float32_from_weights_that_are_held_in_16_bits(capsys, home) -> None:
    (home / "texts.csv").write_text(TEXTS)
    tasks = SPEC.replace("mood: classification", "lm: causal_lm").replace(", label: label", "")
    for dtype in ("stored", "float32"):
        assert main(["import", str(FOLDERS / "mistral_swa"), dtype, "--dtype", dtype]) == 0
        (home / "spec.yaml").write_text(tasks % dtype)
        assert main(["train", "spec.yaml", "--run-dir", f"from-{dtype}"]) == 0
    one, other = (next((home / f"from-{dtype}" / "checkpoints").glob("*/model-*")) for dtype in ("stored", "float32"))
    assert {stored.dtype for stored in read_header(one).values()} == {"F32"}
    assert same(one, other)


def test_nothing_is_written_into_what_is_read(capsys, home) -> None:
    shutil.copytree(FOLDERS / "bert_qa", home / "folder")
    assert main(["import", "folder", "run"]) == 0
    capsys.readouterr()
    before = sorted((home / "run").rglob("*"))
    for verb, source in (("export", "run"), ("export", "folder"), ("import", "folder")):
        assert main([verb, source, f"{source}/deep/sub"]) == 5
        assert capsys.readouterr().err == f"{source}/deep/sub: is inside {source}; name another folder; nothing was touched\n"
    assert sorted((home / "run").rglob("*")) == before and not (home / "folder" / "deep").exists()


def test_an_export_that_does_not_give_the_logits_does_not_stay(capsys, home, monkeypatch) -> None:
    from lmkit.run import verify

    monkeypatch.setattr(verify, "TOLERANCE", -1.0)
    assert main(["export", str(FOLDERS / "bert_qa"), "out", "--verify"]) == 4
    assert "differs by" in capsys.readouterr().err
    assert not (home / "out").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_layers: 2", "num_layers: 3", "missing: encoder.layers.2."),
        ("num_layers: 2", "num_layers: 1", "not in the model: encoder.layers.1."),
        ("intermediate_size: 96", "intermediate_size: 80", "of another shape: encoder.layers.0."),
    ],
)
def test_a_run_whose_weights_are_not_of_its_words_is_not_exported_and_told_in_one_line(capsys, home, old, new, says) -> None:
    assert main(["import", str(FOLDERS / "bert_qa"), "run"]) == 0
    words = home / "run" / "resolved.yaml"
    assert old in words.read_text()
    words.write_text(words.read_text().replace(old, new))
    capsys.readouterr()
    assert main(["export", "run", "out"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("run: ") and says in line and " more" in line
    assert not (home / "out").exists()


def test_a_folder_whose_tensors_are_not_of_its_config_is_told_in_one_line(capsys, home) -> None:
    shutil.copytree(FOLDERS / "bert_qa", "folder")
    config = json.loads((home / "folder" / "config.json").read_text())
    (home / "folder" / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert main(["export", "folder", "out"]) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("folder: missing: bert.encoder.layer.2.") and line.endswith(", 13 more")


@pytest.mark.parametrize(("name", "says"), [("smollm2", ""), ("bart", "bos_token_id: names token 99999, the model has ")])
def test_what_begins_a_text_is_asked_for_where_a_decoder_stands_beside_an_encoder(capsys, home, name, says) -> None:
    shutil.copytree(FOLDERS / name, "folder")
    file = home / "folder" / "generation_config.json"
    said = {key: value for key, value in json.loads(file.read_text()).items() if key != "decoder_start_token_id"}
    file.write_text(json.dumps(said | {"bos_token_id": 99999, "max_length": 20}))
    assert main(["import", "folder", "run"]) == (4 if says else 0)
    assert says in capsys.readouterr().err
    if not says:
        assert main(["generate", "run", "the", "--max-tokens", "2"]) == 0


def test_one_task_of_several_is_exported_alone(capsys, home) -> None:
    assert main(["export", str(FOLDERS / "bert_gammabeta"), "out", "--task", "nsp", "--verify"]) == 0
    assert json.loads((home / "out" / "config.json").read_text())["architectures"] == ["BertForNextSentencePrediction"]
    assert not any(key.startswith("cls.predictions") for key in read_header(home / "out" / "model.safetensors"))
    assert main(["export", str(FOLDERS / "bert_gammabeta"), "again", "--task", "other"]) == 2


def test_an_imported_run_does_not_need_its_folder_any_more(capsys, home) -> None:
    shutil.copytree(FOLDERS / "smollm2", home / "folder")
    assert main(["import", "folder", "run"]) == 0
    shutil.rmtree(home / "folder")
    (home / "run").rename(home / "moved")
    assert main(["generate", "moved", "The quick", "--max-tokens", "3", "--greedy"]) == 0
    assert main(["export", "moved", "out", "--verify"]) == 0
    assert same(FOLDERS / "smollm2" / "model.safetensors", home / "out" / "model.safetensors")


T5 = "position: {kind: relative}, attention: {scale: 1.0}, norm: rms_norm, feed_forward: {kind: dense, activation: relu}"
ELECTRA = "embedding_norm: true, token_types: 2, norm: {kind: layer_norm, placement: post}, embedding_size: 20"


def beside(words: str, kind: str, tasks: str) -> str:
    """A spec of OWN with another kind of body, other tasks and few texts."""
    Path("texts.txt").write_text("".join(f"the {word} fox jumps over the {other} dog\n" for word in TEXTS.split() for other in TEXTS))
    spec = OWN.replace("{builtin: python_reference}", "{text: texts.txt, document: line}").replace("kind: decoder", f"kind: {kind}")
    spec = spec.replace("{lm: causal_lm}", tasks) % words
    return spec.replace("kind: bpe", "kind: wordpiece") if kind == "encoder" else spec


@pytest.mark.parametrize("task", ["span_corruption", "prefix_lm"])
def test_what_learned_to_write_beside_an_encoder_is_exported_as_what_writes(capsys, home, task) -> None:
    (home / "spec.yaml").write_text(beside(T5, "encoder_decoder", f"{{it: {task}}}"))
    assert main(["train", "spec.yaml"]) == 0
    assert main(["export", "runs/own", "out", "--verify"]) == 0
    assert json.loads((home / "out" / "config.json").read_text())["architectures"] == ["T5ForConditionalGeneration"]


def test_a_decoder_that_reads_both_ways_is_not_exported_and_its_other_task_is(capsys, home) -> None:
    (home / "spec.yaml").write_text(beside(LLAMA, "decoder", "{lm: causal_lm, rest: prefix_lm}"))
    assert main(["train", "spec.yaml"]) == 0
    capsys.readouterr()
    for which in ((), ("--task", "rest")):
        assert main(["export", "runs/own", "out", *which]) == 4
        said = capsys.readouterr().err
        assert said.startswith("runs/own: tasks.rest: reads the beginning of a text in both directions") and said.count("\n") == 1
    assert main(["export", "runs/own", "out", "--task", "lm", "--verify"]) == 0
    assert json.loads((home / "out" / "config.json").read_text())["architectures"] == ["LlamaForCausalLM"]


def test_a_generator_is_exported_as_the_masked_language_model_that_it_is(capsys, home) -> None:
    from lmkit.inference.logits import batch_of
    from lmkit.run.console import Console
    from lmkit.run.open import open_trained

    (home / "spec.yaml").write_text(
        beside(ELECTRA, "encoder", "{rtd: {kind: replaced_token, generator: {hidden_size: 0.5, num_layers: 1}}}")
    )
    assert main(["train", "spec.yaml"]) == 0
    for task, name in (("rtd", "ElectraForPreTraining"), ("rtd.generator", "ElectraForMaskedLM")):
        assert main(["export", "runs/own", task, "--task", task, "--verify"]) == 0
        assert json.loads((home / task / "config.json").read_text())["architectures"] == [name]
    assert main(["export", "runs/own", "again", "--task", "it.generator"]) == 2
    assert "it is no task with a generator" in capsys.readouterr().err
    tokens = np.random.default_rng(0).integers(5, 90, (2, 9)).astype(np.int32)
    batch = batch_of(tokens)
    run, folder = (open_trained(home / path, Console(*[print] * 3)) for path in ("runs/own", "rtd.generator"))
    table, generator = run.model.backbone.token_embedding, run.model.heads["rtd"].generator
    hidden = generator.encoder(None, vectors=np.asarray(table)[tokens], causal=False, **{k: batch.get(k) for k in KEYS})
    mine = generator.head.logits(hidden, table)
    theirs = folder.model.heads["mlm"].logits(folder.model.hidden(batch, causal=False), folder.model.backbone.token_embedding)
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert np.std(mine) > 0


KEYS = ("segments", "positions", "token_types")
