"""Keras weights files: read as plain bytes by an index that another process makes, and written."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.header import Stored
from lmkit.errors import CheckpointError, MachineError, Problem

WALK = Path(__file__).with_name("walk.py")
PATIENCE = 300  # seconds


def read_indices(paths: list[Path]) -> list[dict[str, Stored]]:
    """Of each file every tensor by its path in it (`layers/dense/vars/0`), in the order of their bytes.

    Raises CheckpointError for what is no such file: links, data in other files, chunks, other things than numbers, damage.
    """
    for path in paths:
        if not path.is_file():
            raise CheckpointError(Problem("is no regular file" if path.exists() else "does not exist", where=str(path)))
        try:
            open(path, "rb").close()
        except OSError as error:
            raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    found = []
    for path, answer in zip(paths, _answers(paths), strict=True):
        if "problem" in answer:
            raise CheckpointError(Problem(answer["problem"], where=str(path)))
        found.append({name: Stored(path, code, tuple(shape), *span) for name, (code, shape, *span) in answer["tensors"].items()})
    return found


def _answers(paths: list[Path]) -> list[dict[str, Any]]:
    """What the other process says of each file; if it dies of one, only that can be said."""
    command = [sys.executable, "-P", str(WALK)]
    try:
        ended = subprocess.run(
            command, input=json.dumps([str(p.absolute()) for p in paths]).encode(), capture_output=True, timeout=PATIENCE
        )
        if ended.returncode == 0:
            return json.loads(ended.stdout)  # type: ignore[no-any-return]
    except subprocess.TimeoutExpired:
        pass
    except OSError as error:
        raise MachineError(Problem(f"no process can be started to read HDF5 in: {error.strerror}")) from error
    if len(paths) > 1:
        return [answer for path in paths for answer in _answers([path])]
    return [{"problem": "damaged: HDF5 did not come back from it"}]


def write_tensors(path: Path, tensors: Iterable[tuple[str, np.ndarray, str]]) -> None:
    """Writes a weights file as Keras does, from (path in it, stored values, dtype code)."""
    import h5py

    with h5py.File(path, "x") as file:
        for name, values, code in tensors:
            if code == "BF16":
                file.create_dataset(name, data=values.view("V2")).attrs["dtype"] = "bfloat16"
            else:
                file.create_dataset(name, data=values)
    with open(path, "rb+") as written:
        os.fsync(written.fileno())
