"""Folders that are wrong: one line that names the file or the tensor, exit code 4, and nothing written (catalogue 3.4)."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.header import Stored, header_bytes, read_header
from lmkit.checkpoints.hub.family import Heard
from lmkit.checkpoints.hub.known import family_of
from lmkit.cli import main
from lmkit.errors import CheckpointError

FOLDERS = Path(__file__).parent / "folders"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def copied(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    shutil.copytree(FOLDERS / name, folder, ignore=shutil.ignore_patterns("*.npz"))
    return folder


def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, what: Path) -> str:
    """The line that `import` and `predict` both say of it."""
    before = sorted(tmp_path.rglob("*"))
    assert main(["import", str(what), str(tmp_path / "dest")]) == 4
    said = capsys.readouterr().err.strip()
    assert main(["predict", str(what), "--text", "x"]) == 4
    assert capsys.readouterr().err.strip() == said
    assert sorted(tmp_path.rglob("*")) == before
    assert len(said.splitlines()) == 1, said
    return said


def edit_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def edit_tensors(folder: Path, change: Callable[[dict[str, tuple[str, tuple[int, ...], np.ndarray]]], None]) -> None:
    found: dict[str, Stored] = read_header(folder / SINGLE)
    tensors = {key: (one.dtype, one.shape, one.read()) for key, one in found.items()}
    change(tensors)
    header = header_bytes([(key, dtype, shape) for key, (dtype, shape, _) in tensors.items()])
    (folder / SINGLE).write_bytes(header + b"".join(array.tobytes() for _, _, array in tensors.values()))


NORM = "bert.encoder.layer.1.output.LayerNorm.weight"


def test_a_missing_tensor_is_named(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_tensors(folder, lambda tensors: tensors.pop(NORM))
    assert refused(capsys, tmp_path, folder) == f"{folder}: missing: {NORM}"


def test_a_tensor_too_many_is_named(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_tensors(folder, lambda tensors: tensors.update({"bert.extra.weight": ("F32", (1,), np.zeros(1, np.float32))}))
    assert refused(capsys, tmp_path, folder) == f"{folder}: not in the model: bert.extra.weight"


def test_a_tensor_of_another_shape_is_named_with_both_shapes_and_the_key_that_sets_them(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    key = "bert.encoder.layer.0.intermediate.dense.bias"
    edit_tensors(folder, lambda tensors: tensors.update({key: ("F32", (95,), np.zeros(95, np.float32))}))
    said = refused(capsys, tmp_path, folder)
    assert f"{key} is [95] in the file, the model needs [96] (config.json: intermediate_size = 96)" in said


def test_whole_numbers_are_no_weights(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_tensors(folder, lambda tensors: tensors.update({NORM: ("I64", (48,), np.zeros(48, np.int64))}))
    assert f"{NORM} is I64" in refused(capsys, tmp_path, folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_tensor_that_is_not_finite_is_named(capsys, tmp_path, value) -> None:
    folder = copied(tmp_path, "bert_qa")

    def spoil(tensors) -> None:
        tensors[NORM][2][7] = value

    edit_tensors(folder, spoil)
    assert refused(capsys, tmp_path, folder) == f"{folder}: tensor {NORM} is not finite"


def test_a_second_name_that_holds_other_values_is_named(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_gammabeta")
    other = ("F32", (288,), np.ones(288, np.float32))
    edit_tensors(folder, lambda tensors: tensors.update({"cls.predictions.decoder.bias": other}))
    assert "cls.predictions.decoder.bias is tied to cls.predictions.bias but holds other values" in refused(capsys, tmp_path, folder)


@pytest.mark.parametrize(("cut", "says"), [(100, "cut off"), (10**9, "does not fit")], ids=["at the end", "in the header"])
def test_a_truncated_shard_is_named(capsys, tmp_path, cut, says) -> None:
    folder = copied(tmp_path, "mistral_swa")
    shard = sorted(folder.glob("*.safetensors"))[2]
    shard.write_bytes(shard.read_bytes()[: max(20, shard.stat().st_size - cut)])
    said = refused(capsys, tmp_path, folder)
    assert says in said and shard.name in said


def edit_index(folder: Path, change: Callable[[dict[str, str]], None]) -> dict[str, str]:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))
    return index["weight_map"]


def test_an_index_that_names_an_absent_shard(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "mistral_swa")
    shard = sorted(folder.glob("*.safetensors"))[2]
    shard.unlink()
    assert refused(capsys, tmp_path, folder) == f"{folder / INDEX}: names the file {shard.name}, which is absent"


def test_an_index_that_looks_into_the_wrong_shard(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "mistral_swa")
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    found = edit_index(folder, lambda where: where.update({"model.norm.weight": names[0]}))
    assert f"says that model.norm.weight is in {found['model.norm.weight']}" in refused(capsys, tmp_path, folder)


def test_an_index_that_does_not_name_what_a_shard_holds(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "mistral_swa")
    edit_index(folder, lambda where: where.pop("model.norm.weight"))
    assert "does not name model.norm.weight" in refused(capsys, tmp_path, folder)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x.bin"])
def test_an_index_that_leaves_the_folder(capsys, tmp_path, name) -> None:
    folder = copied(tmp_path, "mistral_swa")
    edit_index(folder, lambda where: where.update({"model.norm.weight": name}))
    assert "is no safetensors file of this folder" in refused(capsys, tmp_path, folder)


@pytest.mark.parametrize("index", ["[]", "{}", '{"weight_map": 5}', '{"weight_map": {"a": 5}}'])
def test_an_index_without_a_map(capsys, tmp_path, index) -> None:
    folder = copied(tmp_path, "mistral_swa")
    (folder / INDEX).write_text(index)
    assert refused(capsys, tmp_path, folder) == f"{folder / INDEX}: has no weight_map from tensor to file"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "mamba"}, "'mamba' is not known; lmkit import --help lists all that are"),
        ({"model_type": "Qwen2"}, "'Qwen2' is not known; did you mean qwen2"),
        ({"model_type": None}, "model_type is missing"),
        ({"vocab_size": 0}, "vocab_size: expected a whole number of 1 or more, got 0"),
        ({"architectures": ["BertForMadeUpThings"]}, "BertForMadeUpThings is not supported; of bert lmkit reads BertModel"),
        ({"architectures": "BertModel"}, "architectures is no list"),
        ({"auto_map": {"AutoModel": "modeling.Own"}}, "auto_map names code of the folder, which is never run"),
        ({"quantization_config": {"bits": 4}}, "quantized weights are not read"),
        ({"hidden_act": "mish"}, "hidden_act: mish is no activation"),
        ({"is_decoder": True}, "is_decoder: True is not supported"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type: relative_key is not supported"),
        ({"hidden_size": "large"}, 'hidden_size: expected a whole number of 1 or more, got "large"'),
        ({"num_hidden_layers": -1}, "num_hidden_layers: expected a whole number of 1 or more, got -1"),
        ({"hidden_size": None}, "hidden_size is missing"),
        ({"hidden_size": 50}, "hidden_size: 50 is not divisible by num_heads = 4"),
        ({"max_position_embeddings": 10**9}, "parameters, the files hold"),
        ({"intermediate_size": 10**25}, "intermediate_size: 10000000000000000000000000 is larger than any model"),
        ({"num_hidden_layers": 10**8}, "num_hidden_layers: 100000000 is larger than any model"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_config_that_asks_for_what_lmkit_has_not(capsys, tmp_path, values, says) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_config(folder, **values)
    said = refused(capsys, tmp_path, folder)
    assert says in said and str(folder / "config.json") in said


TOKENS = "expected a token from 0 to {last}, or -1 or null for none, got"
OF_A_FOLDER: list[tuple[str, dict[str, Any], str]] = [
    ("bert_qa", {"tie_word_embeddings": "yes"}, 'tie_word_embeddings: expected true or false, got "yes"'),
    ("t5", {"tie_word_embeddings": "yes"}, 'tie_word_embeddings: expected true or false, got "yes"'),
    ("bert_qa", {"hidden_size": "64"}, 'hidden_size: expected a whole number of 1 or more, got "64"'),
    ("bert_qa", {"num_hidden_layers": 2.5}, "num_hidden_layers: expected a whole number of 1 or more, got 2.5"),
    ("bert_qa", {"layer_norm_eps": "x"}, 'layer_norm_eps: expected a number, got "x"'),
    ("bert_qa", {"layer_norm_eps": 2.5}, "layer_norm_eps: expected a number above 0 and below 0.1, got 2.5"),
    ("bert_qa", {"hidden_dropout_prob": 2.5}, "hidden_dropout_prob: expected a number from 0 to below 1, got 2.5"),
    ("roberta_seqcls", {"problem_type": "ranking"}, "problem_type: expected single_label_classification or multi_label_classification or "),
    ("bert_qa", {"pad_token_id": 99999}, f"pad_token_id: {TOKENS} 99999"),
    ("bert_qa", {"pad_token_id": "0"}, f'pad_token_id: {TOKENS} "0"'),
    ("bert_qa", {"pad_token_id": -7}, f"pad_token_id: {TOKENS} -7"),
    ("roberta_seqcls", {"pad_token_id": -1}, "pad_token_id: expected a whole number of 0 or more, got -1"),
    ("smollm2", {"eos_token_id": 99999}, f"eos_token_id: {TOKENS} 99999"),
    ("smollm2", {"eos_token_id": [1, 99999]}, f"eos_token_id: {TOKENS} [1, 99999]"),
    ("bart", {"bos_token_id": 99999}, f"bos_token_id: {TOKENS} 99999"),
    (
        "bart",
        {"architectures": ["BartForSequenceClassification"], "eos_token_id": 7},
        "eos_token_id: expected a token that the tokenizer puts around texts, got 7, which is to be pooled",
    ),
]


@pytest.mark.parametrize(("name", "values", "says"), OF_A_FOLDER, ids=[f"{name}-{list(values)[-1]}" for name, values, _ in OF_A_FOLDER])
def test_a_value_that_a_key_cannot_have_is_named_with_what_it_can(capsys, tmp_path, name, values, says) -> None:
    folder = copied(tmp_path, name)
    edit_config(folder, **values)
    last = json.loads((folder / "config.json").read_text())["vocab_size"] - 1
    assert refused(capsys, tmp_path, folder).startswith(f"{folder / 'config.json'}: {says.format(last=last)}")


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDERS.iterdir()))
def test_no_key_that_is_read_holds_a_value_of_another_kind(name) -> None:
    config = json.loads((FOLDERS / name / "config.json").read_text())
    family, config = family_of(config)
    heard = Heard(config)
    family.read(heard)
    asked = [key for key in heard.asked if isinstance(config[key], bool | int | float) and key not in family.vocabulary]
    assert len(asked) > 4
    for key in asked:
        for value in ("yes", [1], {"a": 1}, *([2.5] if isinstance(config[key], bool) else [True])):
            with pytest.raises(CheckpointError) as error:
                family.read({**config, key: value})
            assert error.value.problems[0].what.startswith(f"{key}: ")


@pytest.mark.parametrize("values", [{"pad_token_id": None}, {"pad_token_id": -1, "eos_token_id": -1}, {"eos_token_id": [1, 2]}])
def test_a_role_that_no_token_or_several_have_is_read(tmp_path, values) -> None:
    folder = copied(tmp_path, "smollm2")
    (folder / "generation_config.json").unlink()
    edit_config(folder, **values)
    assert main(["import", str(folder), str(tmp_path / "dest")]) == 0


def test_a_padding_token_that_is_not_the_tokenizers_changes_no_row_beside_a_longer_one(tmp_path) -> None:
    folder = copied(tmp_path, "roberta_seqcls")
    edit_config(folder, pad_token_id=7)
    texts = ["the fox", "the quick brown fox jumps over the lazy dog"]
    found = []
    for name, given in (("both", texts), ("one", texts[:1])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in given))
        files = [str(tmp_path / f"{name}.jsonl"), "--output", str(tmp_path / f"{name}.out")]
        assert main(["predict", str(folder), "--input", *files]) == 0
        found.append(json.loads((tmp_path / f"{name}.out").read_text().splitlines()[0]))
    both, one = (answer["classification"]["probabilities"] for answer in found)
    np.testing.assert_allclose(list(both.values()), list(one.values()), atol=1e-6)


def test_a_vocabulary_smaller_than_that_of_the_tokenizer_is_named_by_its_key(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_config(folder, vocab_size=5)
    assert "more than the 5 rows that vocab_size in config.json asks for" in refused(capsys, tmp_path, folder)


def test_a_name_that_cannot_be_printed_is_not_printed(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    edit_tensors(folder, lambda tensors: tensors.update({"evil\n\x1b[31m": ("F32", (1,), np.zeros(1, np.float32))}))
    assert r"a tensor is called 'evil\n\x1b[31m'" in refused(capsys, tmp_path, folder)


def test_a_pipe_is_not_waited_for(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    (folder / SINGLE).unlink()
    os.mkfifo(folder / SINGLE)
    assert refused(capsys, tmp_path, folder) == f"{folder / SINGLE}: is no regular file"


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "\xff"], ids=["empty", "open", "list", "number", "no utf-8"])
def test_a_config_that_is_no_mapping(capsys, tmp_path, text) -> None:
    folder = copied(tmp_path, "bert_qa")
    (folder / "config.json").write_text(text, encoding="latin-1")
    assert str(folder / "config.json") in refused(capsys, tmp_path, folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "tf_model.h5", "model.keras", "flax_model.msgpack.pkl"])
def test_weights_that_may_be_code_are_not_opened(capsys, tmp_path, name) -> None:
    folder = copied(tmp_path, "bert_qa")
    (folder / SINGLE).rename(folder / name)
    assert f"{name} is not loaded: it may run code" in refused(capsys, tmp_path, folder)
    assert "may run code" in refused(capsys, tmp_path, folder / name)


def test_a_folder_without_weights_or_tokenizer(capsys, tmp_path) -> None:
    folder = copied(tmp_path, "bert_qa")
    (folder / SINGLE).rename(tmp_path / "away")
    assert "has neither model.safetensors nor model.safetensors.index.json" in refused(capsys, tmp_path, folder)
    (tmp_path / "away").rename(folder / SINGLE)
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    assert "tokenizer.json" in refused(capsys, tmp_path, folder)


def test_a_destination_that_is_taken_is_not_touched(capsys, tmp_path) -> None:
    (tmp_path / "dest").mkdir()
    (tmp_path / "dest" / "mine").write_text("mine")
    assert main(["import", str(FOLDERS / "bert_qa"), str(tmp_path / "dest")]) == 5
    assert "nothing was touched" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["dest", "mine"]
