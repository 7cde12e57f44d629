"""Presets of keras-hub in and out: the same logits, the same ids, the same objects."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lmkit.checkpoints.hub.keras_hub.write import write_preset
from lmkit.checkpoints.hub.write import Outgoing
from lmkit.cli import main
from lmkit.errors import CheckpointError
from lmkit.inference.logits import batch_of, logits_of
from lmkit.run.body import body_of
from lmkit.run.model import shapes_of
from lmkit.run.pretrained import origin_of
from lmkit.run.source import Source, foreign_source, source_of
from lmkit.run.verify import filled
from lmkit.spec_file.load import load
from lmkit.spec_file.resolve import resolve
from lmkit.text.build import load_tokenizer
from lmkit.text.keras_hub import preset_tokenizer

NEAR = 1e-5  # of the standard deviation of the logits


def rows(vocab: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, which of them are real, and their types."""
    tokens = np.random.default_rng(1).integers(0, vocab, (3, 11)).astype(np.int32)
    real, types = np.ones_like(tokens), np.zeros_like(tokens)
    real[1, 7:] = real[2, 4:] = 0
    types[:, 3:] = 1
    return tokens, real, types


def said(source: Source, tokens: np.ndarray, real: np.ndarray, types: np.ndarray) -> np.ndarray:
    """What the only task of a source says."""
    vocab = source.tokenizer().vocab_size
    shapes = shapes_of(source.spec, vocab_size=vocab, labels=source.labels)
    tensors = source.weights(lambda: shapes, print).tensors
    typed = {"token_types": types} if source.spec.model.token_types else {}  # type: ignore[union-attr]
    ours = logits_of(filled(source, tensors, vocab), source.spec.tasks, batch_of(tokens, real, **typed))
    return next(np.asarray(value) for name, value in ours.items() if name != "hidden")


def distance(one: np.ndarray, other: np.ndarray, real: np.ndarray) -> float:
    where = real == 1 if one.ndim == 3 else slice(None)
    return float(np.abs(one - other)[where].max() / other[where].std())


def test_a_preset_says_what_keras_hub_says(preset: Any) -> None:
    source = foreign_source(preset.path)
    batch = rows(source.tokenizer().vocab_size)
    assert distance(said(source, *batch), preset.logits(*batch), batch[1]) < NEAR


def test_a_preset_comes_back_from_a_run(preset: Any, tmp_path: Path, capsys: Any) -> None:
    assert main(["import", str(preset.path), str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--format", "keras_hub", "--verify"]) == 0
    assert f"{type(preset.model).__name__} of keras-hub" in capsys.readouterr().out
    again = preset.opened(tmp_path / "out")
    batch = rows(source_of(tmp_path / "run").tokenizer().vocab_size)
    assert np.array_equal(preset.logits(*batch, model=again), preset.logits(*batch)), "the weights are the same, bit for bit"
    for mine, theirs in zip(again.backbone.get_weights(), preset.model.backbone.get_weights(), strict=True):
        assert np.array_equal(mine, theirs), "and so are those that our model has no use for"
    for text in preset.texts:
        assert np.array_equal(again.preprocessor.tokenizer(text), preset.tokenizer(text))
    for file in ("config.json", "task.json", "preprocessor.json"):
        one, other = (json.loads((path / file).read_text()) for path in (tmp_path / "out", preset.path))
        assert list(_others(one, other, file)) == []


def _others(one: Any, other: Any, at: str) -> Iterator[str]:
    """Where an object says something else than keras-hub's own, names and lengths of rows apart; what it leaves out is the default."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        if (sorted(one) != sorted(other)) if isinstance(one, list) else one != other:
            yield f"{at}: {one} != {other}"
        return
    for key in one.keys() - {"name", "sequence_length", "tie_word_embeddings"}:
        yield from _others(one[key], other.get(key), f"{at}.{key}")


def test_texts_have_the_ids_that_keras_hub_gives(preset: Any) -> None:
    ours = load_tokenizer(preset.path)
    for text in preset.texts:
        assert ours.encode([text])[0].tolist() == np.asarray(preset.tokenizer(text)).tolist()


def test_rows_have_the_frame_that_keras_hub_gives(presets: Any) -> None:
    classes, lm = presets["bert_classes"], presets["gpt2"]
    row = load_tokenizer(classes.path).rows(["the fox"], ["quick"])[0]
    theirs, _ = classes.model.preprocessor((["the fox"], ["quick"]), [0])
    length = int(np.asarray(theirs["padding_mask"]).sum())
    assert row.ids.tolist() == np.asarray(theirs["token_ids"])[0, :length].tolist()
    assert row.types.tolist() == np.asarray(theirs["segment_ids"])[0, :length].tolist()
    row = load_tokenizer(lm.path).rows(["the fox"])[0]
    packed, _, _ = lm.model.preprocessor(["the fox"])
    assert row.ids.tolist()[:5] == np.asarray(packed["token_ids"])[0, :5].tolist()


def test_labels_keep_their_names(presets: Any, tmp_path: Path) -> None:
    shutil.copytree(presets["bert_classes"].path, tmp_path / "in")
    metadata = json.loads((tmp_path / "in/metadata.json").read_text()) | {"labels": ["good", "bad", "ugly"]}
    (tmp_path / "in/metadata.json").write_text(json.dumps(metadata))
    assert main(["import", str(tmp_path / "in"), str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--format", "keras_hub"]) == 0
    assert foreign_source(tmp_path / "out").labels["classification"] == ("good", "bad", "ugly")


def test_a_llama_brings_its_tokenizer_as_the_library_writes_it(presets: Any, tmp_path: Path, capsys: Any) -> None:
    made = presets["llama3"]
    shutil.copytree(made.path, tmp_path / "in")
    for file in (tmp_path / "in").glob("*.json"):
        file.write_text(file.read_text().replace("Llama3", "Llama").replace("llama3", "llama"))
    shutil.rmtree(tmp_path / "in/assets")
    (tmp_path / "in/assets/tokenizer").mkdir(parents=True)
    assert main(["import", str(tmp_path / "in"), str(tmp_path / "run")]) == 4
    assert "vocabulary.spm: does not exist" in capsys.readouterr().err
    load_tokenizer(made.path).save(tmp_path / "in/assets/tokenizer/tokenizer.json")
    assert main(["import", str(tmp_path / "in"), str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--format", "keras_hub", "--verify"]) == 0
    assert "LlamaCausalLM of keras-hub" in capsys.readouterr().out
    assert load_tokenizer(tmp_path / "out").encode(made.texts)[0].tolist() == load_tokenizer(made.path).encode(made.texts)[0].tolist()


def test_a_preset_becomes_a_hugging_face_folder(presets: Any, tmp_path: Path) -> None:
    for name in ("gpt2", "llama3"):
        assert main(["export", str(presets[name].path), str(tmp_path / name), "--verify"]) == 0
        batch = rows(30)
        assert distance(said(foreign_source(tmp_path / name), *batch), presets[name].logits(*batch), batch[1]) < NEAR


def test_the_pooler_is_there_for_new_heads_though_none_reads_it(presets: Any, tmp_path: Path) -> None:
    made = presets["bert_mlm"]
    assert main(["import", str(made.path), str(tmp_path / "run")]) == 0
    for path in (made.path, tmp_path / "run"):
        origin = origin_of(source_of(path))
        assert origin is not None and origin.family.model_type == "BertBackbone"
        kernel = origin.tensors["model.weights.h5/layers/dense/vars/0"].floats()
        assert np.array_equal(kernel, made.model.backbone.pooled_dense.kernel)


def older(path: Path) -> None:
    """A weights file as writers of old spelled it."""
    with h5py.File(path, "r+") as file:
        for name in list(file["layers"]):
            attention = file["layers"][name].get("_self_attention_layer", {})
            for part in ("query", "key", "value", "output"):
                if f"{part}_dense" in attention:
                    attention.move(f"{part}_dense", f"_{part}_dense")
        file.move("layers", "_layer_checkpoint_dependencies")


@pytest.mark.parametrize("name", ["bert_mlm", "gpt2"])
def test_older_spellings_are_read(presets: Any, name: str, tmp_path: Path) -> None:
    shutil.copytree(presets[name].path, tmp_path / "in")
    for file in (tmp_path / "in").glob("*.weights.h5"):
        older(file)
    for file in (tmp_path / "in").glob("*.json"):
        file.write_text(file.read_text().replace("keras_hub>", "keras_nlp>"))
    batch = rows(17)
    assert distance(said(foreign_source(tmp_path / "in"), *batch), presets[name].logits(*batch), batch[1]) < NEAR


def test_shards_are_read(presets: Any, tmp_path: Path) -> None:
    made = presets["gpt2"]
    shutil.copytree(made.path, tmp_path / "in")
    (tmp_path / "in/model.weights.h5").unlink()
    made.model.backbone.save_weights(str(tmp_path / "in/model.weights.json"), max_shard_size=2e-6)
    assert len(list((tmp_path / "in").glob("*.weights.h5"))) > 2
    batch = rows(30)
    assert distance(said(foreign_source(tmp_path / "in"), *batch), made.logits(*batch), batch[1]) < NEAR


def test_sixteen_bits_stay_as_they_are(half: Any, presets: Any, tmp_path: Path) -> None:
    assert main(["import", str(half.path), str(tmp_path / "run")]) == 0
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "out"), "--format", "keras_hub", "--verify"]) == 0
    with h5py.File(half.path / "model.weights.h5") as one, h5py.File(tmp_path / "out/model.weights.h5") as other:
        key = "layers/transformer_decoder_1/_feedforward_output_dense/vars/0"
        assert one[key].attrs["dtype"] == other[key].attrs["dtype"] == "bfloat16"
        assert one[key][()].tobytes() == other[key][()].tobytes()
    again = presets["gpt2"].opened(tmp_path / "out", dtype="bfloat16", preprocessor=None)
    for mine, theirs in zip(again.backbone.get_weights(), half.model.get_weights(), strict=True):
        assert np.array_equal(np.asarray(mine, np.float32), np.asarray(theirs, np.float32))


DECLARED = """
name: declared
tokenizer: {{from: {tokenizer}}}
data: {{train: {{text: {text}}}, max_length: 16}}
model: {{kind: decoder, num_layers: 2, hidden_size: 16, num_heads: 4, num_kv_heads: 1, position: rotary, norm: rms_norm,
  feed_forward: {{kind: gated, intermediate_size: 24}}, tie_embeddings: {tied}, {more}}}
tasks: {{lm: causal_lm}}
training: {{steps: 1, batch_size: 1, optimizer: {{kind: adamw, learning_rate: 1e-5}}}}
"""


def declared(folder: Path, preset: Any, tied: bool, more: str = "") -> tuple[Source, Outgoing, dict[str, np.ndarray]]:
    """A model in our own words, with random weights."""
    (folder / "text.txt").write_text("the fox\n")
    words = DECLARED.format(tokenizer=preset.path, text=folder / "text.txt", tied=str(tied).lower(), more=more)
    (folder / "spec.yaml").write_text(words)
    source = Source(folder, resolve(load(folder / "spec.yaml").spec)[0], {})
    rng = np.random.default_rng(2)
    shapes = shapes_of(source.spec, vocab_size=36, labels={})
    tensors = {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    return source, Outgoing(body_of(source.spec), source.spec.tasks, {}, 36, 16, {}), tensors


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_that_was_only_declared_is_opened_by_keras_hub(presets: Any, tied: bool, tmp_path: Path) -> None:
    preset = presets["llama3"]
    source, outgoing, tensors = declared(tmp_path, preset, tied)
    tokenizer = load_tokenizer(preset.path)
    name = write_preset(tmp_path / "out", outgoing, tensors, lambda body: preset_tokenizer(tokenizer, body))
    assert name == "Llama3CausalLM"
    batch = rows(36)
    ours = logits_of(filled(source, tensors, 36), source.spec.tasks, batch_of(*batch[:2]))["lm"]
    theirs = preset.logits(*batch, model=preset.opened(tmp_path / "out"))
    assert distance(np.asarray(ours), theirs, batch[1]) < NEAR


def test_a_body_without_a_head_is_opened_by_keras_hub(presets: Any, tmp_path: Path) -> None:
    from keras_hub.models import Llama3Backbone

    source, outgoing, tensors = declared(tmp_path, presets["llama3"], tied=False)
    body = {name: tensor for name, tensor in tensors.items() if not name.startswith("heads.")}
    assert write_preset(tmp_path / "out", replace(outgoing, tasks={}), body, lambda name: {}) == "Llama3Backbone"
    tokens, real, _ = rows(36)
    ours = np.asarray(logits_of(filled(source, tensors, 36), source.spec.tasks, batch_of(tokens, real))["hidden"])
    theirs = np.asarray(Llama3Backbone.from_preset(str(tmp_path / "out"))({"token_ids": tokens, "padding_mask": real}))
    assert distance(ours, theirs, real) < NEAR


@pytest.mark.parametrize(
    ("more", "named"),
    [("attention: {qk_norm: head}", "attention.qk_norm"), ("residual_scale: 0.5", "residual_scale"), ("head_dim: 8", "head_dim")],
)
def test_what_keras_hub_cannot_say_is_named_and_not_written(presets: Any, more: str, named: str, tmp_path: Path) -> None:
    _, outgoing, tensors = declared(tmp_path, presets["llama3"], True, more)
    with pytest.raises(CheckpointError, match=rf"model: {named}: .* cannot be said by Llama3Backbone"):
        write_preset(tmp_path / "out", outgoing, tensors, lambda body: {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spec.yaml", "text.txt"]
