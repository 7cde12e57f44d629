"""Own checkpoints: exact round trips, nothing damaged loads, nothing good is lost."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lmkit.checkpoints import own
from lmkit.checkpoints.find import candidates, read_model
from lmkit.checkpoints.manifest import compare, require
from lmkit.checkpoints.tensors import shards
from lmkit.errors import CheckpointError, NumericsError


def tensors(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "embeddings.token.embedding": rng.normal(size=(7, 4)).astype(np.float32),
        "encoder.norm.scale": rng.normal(size=4).astype(np.float32),
        "a.scalar": np.array(seed, np.int64),
        "an.empty": np.zeros((0, 3), np.float32),
    }


def write(directory: Path, step: int, **others) -> Path:
    arguments = dict(model=tensors(step), optimizer=tensors(step + 1), state={"step": step, "best": None}, facts={"spec": "abc"})
    return own.save(directory, step, **(arguments | others))


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    write(tmp_path, 3, shard=64)
    path = write(tmp_path, 12, shard=64)
    checkpoint = own.load(tmp_path)
    assert checkpoint is not None and (checkpoint.path, checkpoint.step) == (path, 12)
    assert_same(checkpoint.model, tensors(12))
    assert_same(checkpoint.optimizer, tensors(13))
    assert (checkpoint.state, checkpoint.facts) == ({"step": 12, "best": None}, {"spec": "abc"})
    assert path.name == "step-00000012" and (path / "model-00002.safetensors").is_file()


def test_the_files_are_plain_safetensors(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    assert_same(load_file(path / "model-00001.safetensors"), tensors(1))


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", 5), write(tmp_path / "b", 5)
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {p.name: p.read_bytes() for p in other.iterdir()}


def test_big_endian_and_transposed_arrays_are_saved_by_value(tmp_path: Path) -> None:
    transposed = np.arange(6, dtype=">f4").reshape(2, 3).T
    write(tmp_path, 1, model={"w": transposed})
    checkpoint = own.load(tmp_path)
    assert checkpoint is not None
    np.testing.assert_array_equal(checkpoint.model["w"], transposed)


def test_shards_hold_everything_once_and_keep_to_the_limit() -> None:
    parts = list(shards({f"t{i}": np.zeros(i * 10, np.uint8) for i in range(12)}, limit=150))
    assert sorted(name for part in parts for name in part) == sorted(f"t{i}" for i in range(12))
    assert all(len(part) == 1 or sum(t.nbytes for t in part.values()) <= 150 for part in parts)


def test_no_checkpoint_was_ever_there(tmp_path: Path) -> None:
    assert own.load(tmp_path / "none") is None
    assert own.load(tmp_path) is None


def test_every_flipped_bit_is_detected_and_its_file_named(tmp_path: Path) -> None:
    path = write(tmp_path, 4)
    pick = random.Random(0)
    for _ in range(80):
        file = pick.choice(sorted(path.iterdir()))
        bit = pick.randrange(file.stat().st_size * 8)
        flip(file, bit)
        with pytest.raises(CheckpointError, match=file.name):
            own.read(path)
        flip(file, bit)
    assert own.read(path).step == 4


def test_a_flipped_bit_in_data_names_the_tensor(tmp_path: Path) -> None:
    path = write(tmp_path, 4)
    file = path / "optimizer-00001.safetensors"
    data = file.read_bytes()
    flip(file, 8 * (data.index(tensors(5)["encoder.norm.scale"].tobytes()) + 5))
    with pytest.raises(CheckpointError, match=r"tensor encoder\.norm\.scale"):
        own.read(path)


def test_every_truncation_and_every_absent_file_is_detected_and_named(tmp_path: Path) -> None:
    path = write(tmp_path, 4)
    pick = random.Random(1)
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for size in sorted({0, len(whole) - 1} | {pick.randrange(len(whole)) for _ in range(14)}):
            file.write_bytes(whole[:size])
            with pytest.raises(CheckpointError, match=file.name):
                own.read(path)
        file.unlink()
        with pytest.raises(CheckpointError, match=file.name):
            own.read(path)
        file.write_bytes(whole)


def test_a_damaged_checkpoint_is_set_aside_and_the_older_one_used(tmp_path: Path) -> None:
    write(tmp_path, 1)
    flip(write(tmp_path, 2) / "model-00001.safetensors", 3200)
    said: list[str] = []
    checkpoint = own.load(tmp_path, say=said.append, repair=True)
    assert checkpoint is not None and checkpoint.step == 1
    assert len(said) == 1 and "model-00001.safetensors" in said[0] and ".bad-step-00000002" in said[0]
    assert (tmp_path / ".bad-step-00000002" / "MANIFEST.json").is_file()


def test_without_the_right_to_repair_nothing_is_renamed(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (write(tmp_path, 2) / "MANIFEST.json").unlink()
    before = sorted(tmp_path.rglob("*"))
    checkpoint = own.load(tmp_path)
    assert checkpoint is not None and checkpoint.step == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_when_none_verifies_it_is_an_error_also_the_second_time(tmp_path: Path) -> None:
    flip(write(tmp_path, 1) / "state.json", 9)
    for _ in range(2):
        with pytest.raises(CheckpointError, match="none can be used") as error:
            own.load(tmp_path, repair=True)
        assert "step-00000001" in str(error.value)


def test_a_mistyped_step_lists_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, 10)
    write(tmp_path, 20)
    with pytest.raises(CheckpointError, match="10, 20"):
        own.load(tmp_path, 15)


def test_a_checkpoint_of_a_later_lmkit_is_neither_skipped_nor_set_aside(tmp_path: Path) -> None:
    from lmkit.checkpoints import manifest

    write(tmp_path, 1)
    path = write(tmp_path, 2) / "MANIFEST.json"
    body = json.loads(path.read_text())
    del body["sha256"]
    body["format"] = 99
    digest = manifest.hashlib.sha256(manifest._text(body)).hexdigest()
    path.write_bytes(manifest._text(body | {"sha256": digest}))
    with pytest.raises(CheckpointError, match="format 99"):
        own.load(tmp_path, repair=True)
    assert own.steps(tmp_path) == [1, 2]


def test_a_renamed_checkpoint_does_not_pass_for_another_step(tmp_path: Path) -> None:
    write(tmp_path, 1).rename(tmp_path / "step-00000009")
    with pytest.raises(CheckpointError, match="of step 1"):
        own.read(tmp_path / "step-00000009")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("group", ["model", "optimizer"])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, group: str, value: float) -> None:
    write(tmp_path, 1)
    bad = tensors(2)
    bad["encoder.norm.scale"][2] = value
    with pytest.raises(NumericsError, match=r"encoder\.norm\.scale"):
        write(tmp_path, 2, **{group: bad})
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_saving_the_same_state_again_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, 1)
    inode = path.stat().st_ino
    assert write(tmp_path, 1) == path and path.stat().st_ino == inode
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_saving_over_a_damaged_checkpoint_sets_that_aside(tmp_path: Path) -> None:
    flip(write(tmp_path, 1) / "state.json", 3)
    write(tmp_path, 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".bad-step-00000001", "step-00000001"]
    assert own.read(tmp_path / "step-00000001").step == 1


def test_retention_keeps_the_newest_and_whatever_is_not_ours(tmp_path: Path) -> None:
    for step in (1, 2, 30, 4):
        write(tmp_path, step)
    (tmp_path / "step-notes").mkdir()
    (tmp_path / ".bad-step-00000009").mkdir()
    own.retain(tmp_path, 2)
    assert own.steps(tmp_path) == [4, 30]
    assert {"step-notes", ".bad-step-00000009"} <= {p.name for p in tmp_path.iterdir()}


def test_retention_with_a_reach_always_has_one_so_old_and_not_much_older(tmp_path: Path) -> None:
    for step in range(0, 200, 5):
        write(tmp_path, step)
        own.retain(tmp_path, 2, reach=20)
        found = own.steps(tmp_path)
        assert found[-2:] == [max(0, step - 5), step][-len(found) :] and len(found) <= 4
        old = max(s for s in (*found, 0) if s <= max(0, step - 20))
        assert old in found and step - old <= 2 * 20 + 5


def test_the_newest_that_is_old_enough_is_loaded_or_the_oldest_of_all(tmp_path: Path) -> None:
    for step in (4, 8, 12):
        write(tmp_path, step)
    assert [own.load(tmp_path, at_most=step).step for step in (20, 12, 11, 4, 0)] == [12, 12, 8, 4, 4]
    (tmp_path / "step-00000008" / "state.json").write_text("{")
    assert own.load(tmp_path, at_most=8).step == 4
    assert own.load(tmp_path / "absent", at_most=8) is None


def test_the_best_is_replaced_whole_and_survives_retention(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path / "checkpoints", step)
    assert own.set_best(tmp_path / "checkpoints", tmp_path / "best", 1)
    assert own.set_best(tmp_path / "checkpoints", tmp_path / "best", 2)
    own.retain(tmp_path / "checkpoints", 1)
    assert own.steps(tmp_path / "best") == [2]
    assert_same(own.read(tmp_path / "best" / "step-00000002").optimizer, tensors(3))
    assert own.set_best(tmp_path / "checkpoints", tmp_path / "best", 2), "already there"
    assert not own.set_best(tmp_path / "checkpoints", tmp_path / "best", 7) and own.steps(tmp_path / "best") == [2]


def test_a_run_is_read_by_its_best_then_by_its_newest(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path / "checkpoints", step)
    assert read_model(tmp_path).step == 3
    own.set_best(tmp_path / "checkpoints", tmp_path / "best", 1)
    assert [p.name for p in candidates(tmp_path)] == ["step-00000001", "step-00000003", "step-00000002", "step-00000001"]
    checkpoint = read_model(tmp_path)
    assert checkpoint.step == 1 and checkpoint.optimizer == {}
    assert read_model(tmp_path / "checkpoints").step == 3
    assert read_model(tmp_path / "checkpoints" / "step-00000002").step == 2
    (tmp_path / "best" / "step-00000001" / "MANIFEST.json").unlink()
    said: list[str] = []
    assert read_model(tmp_path, say=said.append).step == 3 and len(said) == 1


def test_a_damaged_optimizer_does_not_hinder_reading_the_model(tmp_path: Path) -> None:
    flip(write(tmp_path, 1) / "optimizer-00001.safetensors", 3200)
    assert_same(read_model(tmp_path).model, tensors(1))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.h5", "m.keras", "w.pkl"])
def test_files_that_may_run_code_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="may run code"):
        read_model(tmp_path / name)


def test_a_mistyped_path_shows_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path / "bert-small" / "checkpoints", 1)
    with pytest.raises(CheckpointError, match="bert-small"):
        read_model(tmp_path / "bert-smal")


def test_other_tensors_than_the_model_has_are_named_in_one_line_three_of_a_kind() -> None:
    expected = {f"layers.{i}.kernel": np.zeros((2, 3), np.float32) for i in range(15)} | {"x": np.zeros(2, np.float32)}
    found = {"x": np.zeros(3, np.float32), "y": np.zeros(1), "layers.0.kernel": np.zeros((2, 3), np.float64)}
    assert not compare(expected, dict(expected))
    with pytest.raises(CheckpointError) as error:
        require(found, expected, "here")
    assert str(error.value) == (
        "here: missing: layers.1.kernel, layers.10.kernel, layers.11.kernel, 11 more; not in the model: y; of another shape: "
        "layers.0.kernel is [2, 3] float64 in the checkpoint and [2, 3] float32 in the model, "
        "x is [3] in the checkpoint and [2] in the model"
    )
