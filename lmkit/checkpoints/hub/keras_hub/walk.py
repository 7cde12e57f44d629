"""The index of Keras weights files, made by HDF5 in a process of its own: a hostile file can make that library fill memory or crash.

Run as a script, it reads a JSON list of paths and writes for each a mapping from tensor to [dtype code, shape, first byte, last byte], or
a line that says what is wrong. Nothing that a file declares is believed before it is proved to be plain bytes of the same file.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

MOST_OBJECTS = 1_000_000
MOST_DEPTH = 32
MOST_AXES = 16
LONGEST_NAME = 1000
MEMORY = 2**30  # bytes more than the libraries themselves take
SECONDS = 60
CODES = {
    "F64": h5py.h5t.IEEE_F64LE, "F32": h5py.h5t.IEEE_F32LE, "F16": h5py.h5t.IEEE_F16LE, "I64": h5py.h5t.STD_I64LE,
    "I32": h5py.h5t.STD_I32LE, "I16": h5py.h5t.STD_I16LE, "I8": h5py.h5t.STD_I8LE, "U64": h5py.h5t.STD_U64LE,
    "U32": h5py.h5t.STD_U32LE, "U16": h5py.h5t.STD_U16LE, "U8": h5py.h5t.STD_U8LE,
}  # fmt: skip

Entry = tuple[str, tuple[int, ...], int, int]


class Refused(Exception):
    """What is wrong with a file, in words for its user."""


def tensors(path: Path) -> dict[str, Entry]:
    """Every tensor of a file by its path in it (`layers/dense/vars/0`), in the order of their bytes, which no two of them share."""
    with h5py.File(path, "r", locking=False) as file:
        found = dict(_walk(file.id, path.stat().st_size))
    ordered = dict(sorted(found.items(), key=lambda item: item[1][2:]))
    at, before = 0, ""
    for name, (_, _, start, stop) in ordered.items():
        if start < at:
            raise Refused(f"tensor {name} lies on the bytes of {before}")
        at, before = stop, name
    return ordered


def _walk(root: Any, size: int) -> Iterator[tuple[str, Entry]]:
    """Goes through the groups of a file, each once."""
    waiting = [("", h5py.h5g.open(root, b"/"))]
    seen = {h5py.h5g.get_objinfo(waiting[0][1]).objno}
    count = 0
    while waiting:
        prefix, group = waiting.pop()
        for raw in group:
            name = prefix + _text(raw, prefix)
            count += 1
            if count > MOST_OBJECTS or name.count("/") >= MOST_DEPTH:
                raise Refused(f"holds more than weights: {MOST_OBJECTS:,} names, or {MOST_DEPTH} groups inside each other")
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise Refused(f"{name} is a link to another name or file, which is not followed")
            one = h5py.h5o.open(group, raw)
            if isinstance(one, h5py.h5d.DatasetID):
                yield name, _entry(name, one, size)
                continue
            if not isinstance(one, h5py.h5g.GroupID) or (number := h5py.h5g.get_objinfo(one).objno) in seen:
                raise Refused(f"{name} " + ("stands in two places" if isinstance(one, h5py.h5g.GroupID) else "is no group and no tensor"))
            seen.add(number)
            waiting.append((f"{name}/", one))


def _text(raw: bytes, prefix: str) -> str:
    name = raw.decode("utf-8", errors="replace")
    if not name.isprintable() or "\ufffd" in name or len(name) > LONGEST_NAME:
        raise Refused(f"a name under /{prefix} is no plain text: {raw[:60]!r}")
    return name


def _entry(name: str, tensor: Any, size: int) -> Entry:
    """Where one tensor lies, unless that is not in this file alone, as it is."""
    created = tensor.get_create_plist()
    layout = created.get_layout()
    if layout == h5py.h5d.VIRTUAL or created.get_external_count():
        raise Refused(f"tensor {name} lies in other files, which are not followed")
    if layout != h5py.h5d.CONTIGUOUS:
        raise Refused(f"tensor {name} is stored in chunks; Keras stores weights in one piece")
    code, shape = _code(tensor), tensor.shape
    if code is None or shape is None:
        raise Refused(f"tensor {name} holds something else than numbers as Keras stores them")
    if len(shape) > MOST_AXES:
        raise Refused(f"tensor {name} has {len(shape)} axes")
    nbytes = math.prod(shape) * (2 if code == "BF16" else CODES[code].get_size())
    start = tensor.get_offset()
    if start is None or tensor.get_storage_size() != nbytes or start + nbytes > size:
        raise Refused(f"tensor {name} of {code} {list(shape)} needs {nbytes} bytes, which the file does not hold")
    return code, tuple(shape), start, start + nbytes


def _code(tensor: Any) -> str | None:
    """What the numbers are; bfloat16 is two bytes without a meaning, named beside them."""
    kind = tensor.get_type()
    if kind.get_class() == h5py.h5t.OPAQUE:
        return "BF16" if kind.get_size() == 2 and h5py.h5a.exists(tensor, b"dtype") else None
    return next((code for code, known in CODES.items() if kind.equal(known)), None)


def _limit() -> None:
    """Bounds what this process may take; where the system has no such limits its parent's patience is the only one."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _answer(path: str) -> dict[str, Any]:
    try:
        return {"tensors": tensors(Path(path))}
    except Refused as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": "damaged: HDF5 needs too much memory for it"}
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, NotImplementedError) as error:
        return {"problem": f"is no HDF5 file, or damaged: {' '.join(str(error).split())[:120]}"}


if __name__ == "__main__":
    _limit()
    sys.stdout.write(json.dumps([_answer(path) for path in json.loads(sys.stdin.read())]))
