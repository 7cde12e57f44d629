"""A column on disk: a `.npy` file written piece by piece, proved by its length and checksum when it is opened."""

import io
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.errors import DataError

SLICE = 2**24  # elements that are checked at a time


class Damaged(DataError):
    """A column is not what was written."""


class ColumnWriter:
    """Appends arrays to one `.npy` file; the header, whose length does not depend on the count, is put right at the end."""

    def __init__(self, path: Path, dtype: Any) -> None:
        self.path, self.dtype = path, np.dtype(dtype)
        self.count, self._crc = 0, 0
        self._file = open(path, "wb")  # noqa: SIM115 - closed by finish
        self._file.write(self._header())

    def append(self, values: np.ndarray) -> None:
        raw = np.ascontiguousarray(values, self.dtype).data
        self._crc = zlib.crc32(raw, self._crc)
        self._file.write(raw)
        self.count += len(values)

    def finish(self) -> dict[str, Any]:
        """Writes the count and forces all to disk; what the cache's metadata keeps of this column."""
        self._file.seek(0)
        self._file.write(self._header())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return {"dtype": self.dtype.str, "count": self.count, "crc32": self._crc}

    def close(self) -> None:
        self._file.close()

    def _header(self) -> bytes:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": self.dtype.str, "fortran_order": False, "shape": (self.count,)})
        return header.getvalue()


def open_column(path: Path, facts: dict[str, Any]) -> np.ndarray:
    """The column as a read-only memory map; raises Damaged where type, length or checksum differ from `facts`."""
    try:
        column = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise Damaged(f"{path}: {error}") from None
    if column.dtype.str != facts["dtype"] or column.shape != (facts["count"],):
        raise Damaged(f"{path}: holds {column.dtype.str}{list(column.shape)}, not {facts['dtype']}[{facts['count']}]")
    crc = 0
    for start in range(0, len(column), SLICE):
        crc = zlib.crc32(column[start : start + SLICE].data, crc)
    if crc != facts["crc32"]:
        raise Damaged(f"{path}: its checksum differs")
    return column


def largest(column: np.ndarray) -> int:
    """Maximum of a memory map, read in slices; -1 of none."""
    return max((int(column[start : start + SLICE].max()) for start in range(0, len(column), SLICE)), default=-1)
