"""Tensors in safetensors files: streamed to disk without a copy, hashed on the way, and read back into memory that holds them once."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lmkit.checkpoints.files import Disk, Written
from lmkit.checkpoints.header import NUMPY, Stored, header_bytes, read_header
from lmkit.checkpoints.manifest import Entry, Manifest
from lmkit.errors import CheckpointError, MachineError, NumericsError, Problem

SHARD = 1 << 30
CHUNK = 1 << 24
COMPUTED = ("float32", "bfloat16", "float16")
CODES = {dtype.name: code for code, dtype in NUMPY.items()}


def first_not_finite(tensors: Mapping[str, np.ndarray]) -> str | None:
    """Name of the first tensor that holds NaN or an infinity."""
    return next((name for name, tensor in tensors.items() if not np.isfinite(tensor).all()), None)


def refuse_not_finite(tensors: Mapping[str, np.ndarray], step: int) -> None:
    """Raises NumericsError naming the tensor, so that a checkpoint never holds what cannot be continued."""
    name = first_not_finite(tensors)
    if name is not None:
        raise NumericsError(Problem(f"{name} is not finite at step {step}; it is not saved and the previous checkpoint is intact"))


def in_dtype(values: np.ndarray, dtype: str | np.dtype, name: str) -> np.ndarray:
    """Real numbers in another dtype, rounded to the nearest, ties to even.

    Raises CheckpointError naming the tensor where one is too large for it.
    """
    with np.errstate(over="ignore"):
        found = values.astype(dtype, copy=False)
    if not np.can_cast(values.dtype, found.dtype) and not np.isfinite(found).all():
        wider = "bfloat16 or float32" if found.dtype.name == "float16" else "float32"
        raise CheckpointError(Problem(f"{name} has values that {found.dtype.name} cannot hold; choose {wider}"))
    return found


def prevailing(tensors: Iterable[tuple[str, Sequence[int]]]) -> str:
    """Of the dtypes that models are computed in, the one of most numbers in tensors (dtype name, shape); others count as float32."""
    counts = dict.fromkeys(COMPUTED, 0)
    for dtype, shape in tensors:
        counts[dtype if dtype in COMPUTED else "float32"] += math.prod(shape)
    return max(counts, key=lambda dtype: counts[dtype])


class Tensors(Mapping[str, np.ndarray]):
    """Tensors by name; each look-up reads from the file, so that nothing is held here."""

    def __init__(self, stored: Mapping[str, Stored]) -> None:
        self.stored = stored

    def __iter__(self) -> Iterator[str]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.stored[name].read()


def shards(tensors: Mapping[str, np.ndarray], limit: int = SHARD) -> Iterator[dict[str, np.ndarray]]:
    """Cuts tensors, sorted by name, into runs of at most `limit` bytes; a larger tensor has a file of its own."""
    current: dict[str, np.ndarray] = {}
    size = 0
    for name in sorted(tensors):
        if current and size + tensors[name].nbytes > limit:
            yield current
            current, size = {}, 0
        current[name] = tensors[name]
        size += tensors[name].nbytes
    if current:
        yield current


def write_tensors(disk: Disk, path: Path, tensors: Mapping[str, np.ndarray]) -> tuple[Written, dict[str, Entry]]:
    """Writes one safetensors file in the order given; returns its size and hash and the entry of every tensor."""
    entries: dict[str, Entry] = {}

    def chunks() -> Iterator[bytes | memoryview]:
        yield header_bytes([(name, CODES[tensor.dtype.name], tensor.shape) for name, tensor in tensors.items()])
        for name, tensor in tensors.items():
            digest = hashlib.sha256()
            for chunk in _bytes(tensor):
                digest.update(chunk)
                yield chunk
            entries[name] = Entry(path.name, tuple(tensor.shape), tensor.dtype.name, digest.hexdigest())

    return disk.write(path, chunks()), entries


def _bytes(tensor: np.ndarray) -> Iterator[memoryview]:
    little = np.asarray(tensor, dtype=tensor.dtype.newbyteorder("<"), order="C")
    flat = little.reshape(-1).view(np.uint8).data
    for start in range(0, len(flat), CHUNK):
        yield flat[start : start + CHUNK]


def check_file(checkpoint: Path, name: str, manifest: Manifest) -> None:
    """Reads a whole file and compares size and sha256. Raises CheckpointError naming the file and, where data is damaged, the tensors."""
    path, expected = checkpoint / name, manifest.files[name]
    digest, size = hashlib.sha256(), 0
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        raise CheckpointError(Problem(f"{name} is absent, the manifest lists it", where=str(checkpoint))) from None
    except OSError as error:
        raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    if size != expected.size:
        raise CheckpointError(Problem(f"damaged: {size} bytes, written were {expected.size}", where=str(path)))
    if digest.hexdigest() != expected.sha256:
        names = list(_damaged_tensors(path, manifest))
        part = f"tensor {', '.join(names[:3])} does" if names else "it does"
        raise CheckpointError(Problem(f"damaged: {part} not have the sha256 that it was written with", where=str(path)))


def _damaged_tensors(path: Path, manifest: Manifest) -> Iterator[str]:
    entries = [item for group in (manifest.model, manifest.optimizer) for item in group.items() if item[1].file == path.name]
    try:
        stored = read_header(path)
    except (CheckpointError, MachineError):
        return  # the header itself is damaged: only the file can be named
    for name, entry in entries:
        if name not in stored or _sha256(stored[name].read()) != entry.sha256:
            yield name


def _sha256(tensor: np.ndarray) -> str:
    digest = hashlib.sha256()
    for chunk in _bytes(tensor):
        digest.update(chunk)
    return digest.hexdigest()


def read_tensors(checkpoint: Path, entries: Mapping[str, Entry]) -> Tensors:
    """Opens tensors in files that `check_file` has passed. Raises CheckpointError when file and manifest do not agree."""
    found: dict[str, Stored] = {}
    for filename in sorted({entry.file for entry in entries.values()}):
        path = checkpoint / filename
        stored = read_header(path)
        if stored.keys() != {name for name, entry in entries.items() if entry.file == filename}:
            raise CheckpointError(Problem("holds other tensors than the manifest lists", where=str(path)))
        for name, one in stored.items():
            if (one.shape, NUMPY[one.dtype].name) != (entries[name].shape, entries[name].dtype):
                raise CheckpointError(Problem(f"tensor {name} is not as the manifest says", where=str(path)))
        found |= stored
    return Tensors(found)
