"""The header of a safetensors file: what is written is read back, also by the library, and anything unsound is refused unread."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from lmkit.checkpoints.header import MOST_BYTES, header_bytes, read_header
from lmkit.errors import CheckpointError, LmkitError

TENSORS = {"a": ("F32", (2, 3)), "b": ("I64", (2,)), "empty": ("F32", (0, 4)), "scalar": ("F16", ())}
A, B = np.arange(6, dtype="<f4").reshape(2, 3), np.array([7, 8], "<i8")
DATA = A.tobytes() + B.tobytes() + np.float16(2.5).tobytes()


def written(path: Path, header: bytes | None = None, data: bytes = DATA) -> Path:
    header = header_bytes([(name, dtype, shape) for name, (dtype, shape) in TENSORS.items()]) if header is None else header
    path.write_bytes(header + data)
    return path


def laid(fields: object) -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text


def entry(dtype: str, shape: list[int], first: int, last: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, last]}


def test_tensors_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors")
    ours, theirs = read_header(path), load_file(path)
    assert ours.keys() == theirs.keys()
    for name, stored in ours.items():
        np.testing.assert_array_equal(stored.read(), theirs[name])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"a": entry("F32", [6], 0, 24)}, "the tensors end at byte"),
        ({"a": entry("F32", [20], 0, 80)}, "cut off"),
        ({"a": entry("F32", [6], 0, 24), "b": entry("F32", [6], 20, 44)}, "overlaps"),
        ({"a": entry("F32", [3], 0, 12), "b": entry("F32", [6], 16, 40)}, "leaves a hole"),
        ({"a": entry("F32", [5], 0, 24)}, "does not have 24 bytes"),
        ({"a": entry("F32", [-6], 0, 24)}, "is no dtype, shape and data_offsets"),
        ({"a": entry("F32", [2**70], 0, 24)}, "is no dtype, shape and data_offsets"),
        ({"a": entry("F32", [True, 6], 0, 24)}, "is no dtype, shape and data_offsets"),
        ({"a": entry("F32", [1] * 17, 0, 4)}, "is no dtype, shape and data_offsets"),
        ({"a": entry("F32", [6], 24, 0)}, "does not have -24 bytes"),
        ({"a": {"dtype": "F32", "shape": [6]}}, "is no dtype, shape and data_offsets"),
        ({"a": 5}, "is no dtype, shape and data_offsets"),
        ({"a": entry("F8_E5M2", [24], 0, 24)}, "has dtype F8_E5M2"),
        ([], "is not JSON"),
    ],
    ids=range(14),
)
def test_a_header_that_does_not_account_for_every_byte_is_refused(tmp_path: Path, fields: object, says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        read_header(written(tmp_path / "a.safetensors", laid(fields)))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\0" * 7, struct.pack("<Q", 10**6) + b"{}", struct.pack("<Q", MOST_BYTES + 1), struct.pack("<Q", 2**63) + b"{}", laid({})[:-1]],
    ids=range(6),
)
def test_a_file_too_short_for_its_header_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointError, match="does not fit"):
        read_header(tmp_path / "a.safetensors")


@pytest.mark.parametrize("text", [b'{"a": 1, "a": 2}', b"{{", b"\xff\xfe{}", b"[" * 90_000], ids=["twins", "open", "no utf-8", "deep"])
def test_text_that_is_no_json_mapping_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_header(written(tmp_path / "a.safetensors", struct.pack("<Q", len(text)) + text))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_whatever_byte_is_damaged_nothing_but_a_refusal_comes_of_it(tmp_path: Path, at: int, value: int, cut: bool) -> None:
    path = written(tmp_path / "a.safetensors")
    raw = bytearray(path.read_bytes())
    raw[at % len(raw)] = value
    path.write_bytes(bytes(raw[: at % len(raw)] if cut else raw))
    try:
        assert sum(stored.stop - stored.start for stored in read_header(path).values()) <= len(raw)
    except LmkitError as error:
        assert error.exit_code == 4


@pytest.mark.parametrize("place", [lambda p: p, lambda p: p / "none.safetensors"], ids=["a folder", "nothing"])
def test_what_is_no_file_is_refused(tmp_path: Path, place: Callable[[Path], Path]) -> None:
    with pytest.raises(CheckpointError):
        read_header(place(tmp_path))


def test_bfloat16_comes_back_with_the_same_bits(tmp_path: Path) -> None:
    bits = np.arange(2**16, dtype="<u2")
    path = written(tmp_path / "b.safetensors", header_bytes([("x", "BF16", (2**16,))]), bits.tobytes())
    stored = read_header(path)["x"]
    assert stored.read().tobytes() == bits.tobytes()
    np.testing.assert_array_equal(stored.floats().view(np.uint32)[:0x7F80], bits.astype(np.uint32)[:0x7F80] << 16)
