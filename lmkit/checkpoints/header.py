"""The header of a safetensors file: written, and proved to describe exactly the bytes behind it before any of them is read."""

import json
import math
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from lmkit.errors import CheckpointError, MachineError, Problem

MOST_BYTES = 100_000_000
MOST_AXES = 16
NUMPY: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16), "BOOL": np.dtype("?"),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"), "U32": np.dtype("<u4"), "U16": np.dtype("<u2"), "U8": np.dtype("u1"),
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")


@dataclass(frozen=True)
class Stored:
    """One tensor in a file: its dtype code, shape, and first and last byte from the beginning of the file."""

    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    def read(self) -> np.ndarray:
        """The tensor as it is stored; read, not mapped, so that memory holds it once."""
        array = np.empty(self.shape, NUMPY[self.dtype])
        view = array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
        try:
            with open(self.path, "rb", buffering=0) as file:
                file.seek(self.start)
                while view:
                    count = file.readinto(view)
                    if not count:
                        raise CheckpointError(Problem("became shorter while it was read", where=str(self.path)))
                    view = view[count:]
        except OSError as error:
            raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(self.path))) from error
        return array

    def floats(self) -> np.ndarray:
        """The tensor in float32."""
        return self.read().astype(np.float32, copy=False)


def header_bytes(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The header for tensors (name, dtype code, shape) that lie one behind the other in this order."""
    fields: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + math.prod(shape) * NUMPY[dtype].itemsize
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(fields, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(path: Path) -> dict[str, Stored]:
    """Every tensor of a file. Raises CheckpointError unless the header is whole, sound, and accounts for every byte of the file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
            raise CheckpointError(Problem("is no regular file", where=str(path)))
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or not 2 <= length <= min(MOST_BYTES, size - 8):
                raise _damaged(path, f"its header of {length} bytes does not fit into the {size} bytes of the file")
            raw = file.read(length)
    except IsADirectoryError:
        raise CheckpointError(Problem("is a folder, not a safetensors file", where=str(path))) from None
    except FileNotFoundError:
        raise CheckpointError(Problem("does not exist", where=str(path))) from None
    except OSError as error:
        raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    try:
        fields = json.loads(raw, object_pairs_hook=_no_twins)
        if not isinstance(fields, dict):
            raise ValueError("it is no mapping")
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not JSON: {str(error)[:80]}") from None
    fields.pop("__metadata__", None)
    odd = next((name for name in fields if not name.isprintable()), None)
    if odd is not None:
        raise _damaged(path, f"a tensor is called {odd[:60]!r}, which cannot be printed")
    found = {name: _stored(path, name, entry, 8 + length) for name, entry in fields.items()}
    _contiguous(path, found, 8 + length, size)
    return found


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _stored(path: Path, name: str, entry: Any, start: int) -> Stored:
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, first, last]
        if len(entry) != 3 or len(shape) > MOST_AXES or any(type(n) is not int or not 0 <= n < 2**62 for n in numbers):
            raise ValueError
    except (TypeError, KeyError, ValueError):
        raise _damaged(path, f"the header's entry of tensor {name} is no dtype, shape and data_offsets") from None
    if dtype not in NUMPY:
        raise CheckpointError(Problem(f"tensor {name} has dtype {str(dtype)[:20]}; read are {', '.join(NUMPY)}", where=str(path)))
    if math.prod(shape) * NUMPY[dtype].itemsize != last - first:
        raise _damaged(path, f"tensor {name} of {dtype} {shape} does not have {last - first} bytes")
    return Stored(path, dtype, tuple(shape), start + first, start + last)


def _contiguous(path: Path, tensors: Mapping[str, Stored], start: int, size: int) -> None:
    at = start
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].stop)):
        if tensor.start != at:
            what = "overlaps what is before it" if tensor.start < at else "leaves a hole before it"
            raise _damaged(path, f"tensor {name} at byte {tensor.start} {what}")
        at = tensor.stop
    if at != size:
        what = f"the tensors end at byte {at} and the file at {size}"
        raise _damaged(path, f"cut off: {what}" if at > size else what)


def _damaged(path: Path, what: str) -> CheckpointError:
    return CheckpointError(Problem(f"damaged: {what}", where=str(path)))
