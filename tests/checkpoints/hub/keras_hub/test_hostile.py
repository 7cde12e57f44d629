"""Presets that are damaged, wrong or made to harm: exit 4, one line that names the tensor or the file, and nothing is written."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from lmkit.checkpoints.hub.keras_hub.h5 import read_indices
from lmkit.cli import main
from lmkit.errors import CheckpointError

QUERY = "layers/transformer_decoder_1/_self_attention_layer/query_dense/vars/0"
Change = Callable[[h5py.File, Path], Any]


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((8, 2, 4), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", shape=(8, 2, 4))
    file.create_virtual_dataset(QUERY, layout)


def _named_type(file: h5py.File, folder: Path) -> None:
    file[QUERY] = np.dtype("f4")


def _deep(file: h5py.File, folder: Path) -> None:
    file["/".join("g" * 40)] = 1.0


def _create(**how: Any) -> Change:
    return lambda file, folder: file.create_dataset(QUERY, **how)


WRONG: dict[str, tuple[Change, str]] = {
    "an external link": (lambda f, d: f.__setitem__(QUERY, h5py.ExternalLink(str(d / "other.h5"), "/x")), "is a link"),
    "a soft link": (lambda f, d: f.__setitem__(QUERY, h5py.SoftLink("/layers/layer_normalization/vars/0")), "is a link"),
    "another name of a tensor": (lambda f, d: f.__setitem__(QUERY, f[QUERY.replace("query", "key")]), "lies on the bytes of"),
    "external storage": (_create(shape=(8, 2, 4), dtype="f4", external=[("/etc/hostname", 0, 256)]), "lies in other files"),
    "a virtual dataset": (_virtual, "lies in other files"),
    "a huge shape": (_create(shape=(2**20, 2**20, 4), dtype="f4"), "which the file does not hold"),
    "no data": (_create(shape=(8, 2, 4), dtype="f4"), "which the file does not hold"),
    "no shape": (_create(data=h5py.Empty("f4")), "something else than numbers"),
    "chunks": (_create(data=np.ones((8, 2, 4), "f4"), chunks=(8, 2, 4)), "stored in chunks"),
    "packed chunks": (_create(shape=(2**16, 2**16), dtype="f4", chunks=(2**10, 2**10), compression="gzip"), "stored in chunks"),
    "texts": (_create(data=["a" * 99, "b"], dtype=h5py.string_dtype()), "something else than numbers"),
    "objects": (_create(shape=(2,), dtype=h5py.ref_dtype), "something else than numbers"),
    "a record": (_create(data=np.zeros(2, "f4,i4")), "something else than numbers"),
    "numbers from the other end": (_create(data=np.ones((8, 2, 4), ">f4")), "something else than numbers"),
    "whole numbers": (_create(data=np.ones((8, 2, 4), "i4")), "is I32 in the file, the model needs real numbers"),
    "a type in its place": (_named_type, "is no group and no tensor"),
    "other heads": (_create(data=np.ones((8, 4, 2), "f4")), "is [8, 4, 2] in the file, the model needs [8, 2, 4]"),
    "infinity": (_create(data=np.full((8, 2, 4), np.inf, "f4")), "is not finite"),
    "nothing": (lambda f, d: None, "missing"),
}


@pytest.fixture
def folder(presets: Any, tmp_path: Path) -> Path:
    """A preset to be spoiled."""
    shutil.copytree(presets["gpt2"].path, tmp_path / "in")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones((8, 2, 4), "f4")
    return tmp_path / "in"


def refused(folder: Path, capsys: Any) -> str:
    """The line that an import ends with, or the first of several that are alike; nothing else is left of it."""
    before = sorted(folder.parent.iterdir())
    capsys.readouterr()
    assert main(["import", str(folder), str(folder.parent / "run")]) == 4
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len({line.split(": ")[1] for line in lines}) == 1, lines
    assert sorted(folder.parent.iterdir()) == before
    return lines[0]


@pytest.mark.parametrize("what", WRONG)
def test_a_tensor_that_is_not_plain_bytes_of_the_file(folder: Path, what: str, capsys: Any) -> None:
    change, says = WRONG[what]
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        del file[QUERY]
        change(file, folder.parent)
    line = refused(folder, capsys)
    assert says in line and QUERY in line, line


def test_groups_that_go_in_circles_or_too_deep(folder: Path, capsys: Any) -> None:
    whole = (folder / "model.weights.h5").read_bytes()
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        file["layers/again"] = file["layers"]
    assert "layers/again stands in two places" in refused(folder, capsys)
    (folder / "model.weights.h5").write_bytes(whole)
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        _deep(file, folder)
    assert "model.weights.h5" in refused(folder, capsys)
    (folder / "model.weights.h5").write_bytes(whole)
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        file["layers/more/vars/0"] = 1.0
    assert "layers/more/vars/0" in refused(folder, capsys)


def test_files_that_are_no_weights(folder: Path, capsys: Any) -> None:
    weights = folder / "model.weights.h5"
    whole = weights.read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:2000], whole[: len(whole) // 2]):
        weights.write_bytes(data)
        assert "model.weights.h5" in refused(folder, capsys)
    weights.unlink()
    assert "model.weights.h5: does not exist" in refused(folder, capsys)
    weights.mkdir()
    assert "model.weights.h5: is no regular file" in refused(folder, capsys)


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("model_00009.weights.h5", "absent"),
        ("../other.h5", "no weights file"),
        ("/etc/hostname", "no weights file"),
        (7, "no weights file"),
    ],
)
def test_shards_elsewhere(folder: Path, named: Any, says: str, capsys: Any) -> None:
    (folder / "model.weights.h5").unlink()
    (folder / "model.weights.json").write_text(json.dumps({"weight_map": {"/layers/layer_normalization/vars": named}}))
    line = refused(folder, capsys)
    assert "model.weights.json" in line and says in line


def changed(file: Path, *path: str, to: Any) -> None:
    """Puts a value into an object."""
    made = json.loads(file.read_text())
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = to
    file.write_text(json.dumps(made))


@pytest.mark.parametrize(
    ("file", "path", "to", "says"),
    [
        ("config.json", ("registered_name",), "keras_hub>GemmaBackbone", "GemmaBackbone is not supported"),
        ("config.json", ("registered_name",), "builtins>eval", "registered_name"),
        ("config.json", ("config", "dtype"), {"class_name": "DTypePolicyMap"}, "quantized"),
        ("config.json", ("config", "num_layers"), 1, "layers/transformer_decoder_1/"),
        ("config.json", ("config", "num_layers"), "two", "config.json"),
        ("config.json", ("config", "num_heads"), 3, "num_heads"),
        ("config.json", ("config", "vocabulary_size"), 2**40, "vocabulary_size: 1099511627776 is larger than any model"),
        ("config.json", ("config", "vocabulary_size"), 10**7, "parameters, the files hold 1,736"),
        ("config.json", ("config", "vocabulary_size"), 33, "layers/reversible_embedding/vars/0"),
        ("config.json", ("config",), [], "config.json"),
        ("task.json", ("registered_name",), "keras_hub>GPT2TextClassifier", "GPT2TextClassifier is not supported"),
        ("task.json", ("config", "backbone", "config", "num_heads"), 4, "backbone.num_heads"),
        ("tokenizer.json", ("registered_name",), "keras_hub>GemmaTokenizer", "put the tokenizers library's tokenizer.json"),
        ("tokenizer.json", ("registered_name",), "mine>Tokenizer", "put the tokenizers library's tokenizer.json"),
    ],
)
def test_objects_that_say_something_else(folder: Path, file: str, path: tuple[str, ...], to: Any, says: str, capsys: Any) -> None:
    changed(folder / file, *path, to=to)
    if file == "config.json":
        (folder / "task.json").unlink()
    assert says in refused(folder, capsys)


def test_a_weights_file_alone_is_not_loaded(folder: Path, capsys: Any) -> None:
    shutil.copy(folder / "model.weights.h5", folder.parent / "model.h5")
    assert "model.h5" in refused(folder.parent / "model.h5", capsys)
    for name in ("config.json", "task.json"):
        (folder / name).unlink()
    assert "config.json" in refused(folder, capsys)


def test_damage_anywhere_ends_in_words(folder: Path) -> None:
    whole, rng = (folder / "model.weights.h5").read_bytes(), random.Random(3)
    refused = 0
    for i in range(12):
        spoiled = bytearray(whole)
        for _ in range(200):
            spoiled[rng.randrange(8000)] = rng.choice((0, 255, rng.randrange(256)))
        (folder / f"{i}.h5").write_bytes(spoiled)
        try:
            read_indices([folder / f"{i}.h5"])
        except CheckpointError as error:
            refused += 1
            assert len(error.problems) == 1 and f"{i}.h5" in str(error)
    assert refused
