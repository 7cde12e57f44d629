"""A foreign folder as data: its JSON files within bounds, and the tensors in its safetensors files; nothing in it is ever run."""

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lmkit.checkpoints.find import FOREIGN
from lmkit.checkpoints.header import Stored, read_header
from lmkit.errors import CheckpointError, MachineError, Problem
from lmkit.text.folder import leads_out

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
FORMATS = ("huggingface", "keras_hub")  # and, in a run, the folders of what its words do not say of the folder that it came from
MOST_JSON = 64 * 2**20
MOST_FILES = 10_000
CODE = ("auto_map", "custom_pipelines")


@dataclass(frozen=True)
class Folder:
    """What is in a folder; `files` names its weight files with their keys in the order of their bytes, `format` says whose folder it is."""

    path: Path
    config: dict[str, Any]
    tensors: dict[str, Stored]
    files: dict[str, tuple[str, ...]]
    format: str = FORMATS[0]

    def json(self, name: str) -> Any:
        """Another JSON file of the folder, None where there is none."""
        return read_json(self.path / name) if (self.path / name).exists() else None


def is_folder(path: Path) -> bool:
    """Whether a path looks like a foreign model folder."""
    return (path / CONFIG).is_file()


def open_folder(path: Path) -> Folder:
    """Reads the config and the headers of all weights. Raises CheckpointError naming the file that is absent or wrong."""
    refuse_code(path)
    if not path.is_dir():
        raise CheckpointError(Problem("is no folder" if path.exists() else "does not exist", where=str(path)))
    config = read_config(path)
    found = _sharded(path) if not (path / SINGLE).exists() and (path / INDEX).exists() else _single(path)
    tensors = {key: stored for keys in found.values() for key, stored in keys.items()}
    files = {name: tuple(sorted(keys, key=lambda key: (keys[key].start, keys[key].stop))) for name, keys in found.items()}
    return Folder(path, config, tensors, files)


def read_config(path: Path) -> dict[str, Any]:
    """config.json; refused where it names code to run or weights that are packed in another way."""
    config = read_json(path / CONFIG)
    if not isinstance(config, dict):
        raise CheckpointError(Problem("is no mapping", where=str(path / CONFIG)))
    for key in CODE:
        if config.get(key):
            raise CheckpointError(Problem(f"{key} names code of the folder, which is never run", where=str(path / CONFIG)))
    if config.get("quantization_config"):
        raise CheckpointError(Problem("quantization_config: quantized weights are not read", where=str(path / CONFIG)))
    return config


def read_json(path: Path) -> Any:
    """A JSON file of bounded size. Raises CheckpointError where it is absent, too large or no JSON."""
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > MOST_JSON:
            what = "is no regular file" if not stat.S_ISREG(facts.st_mode) else f"is larger than {MOST_JSON // 2**20} MiB"
            raise CheckpointError(Problem(what, where=str(path)))
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(Problem("does not exist", where=str(path))) from None
    except OSError as error:
        raise MachineError(Problem(f"cannot be read: {error.strerror}", where=str(path))) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(Problem(f"is not JSON: {str(error)[:100]}", where=str(path))) from None


def refuse_code(path: Path) -> None:
    """Raises CheckpointError where a path names a file of a format that can hold code."""
    if path.is_dir():
        return
    if path.suffix in FOREIGN:
        what = f"{path.suffix} files are not loaded: they may run code; give the folder, with safetensors in it"
        raise CheckpointError(Problem(what, where=str(path)))


def _single(path: Path) -> dict[str, dict[str, Stored]]:
    if (path / SINGLE).exists():
        return {SINGLE: read_header(path / SINGLE)}
    named = sorted(p.name for p in path.iterdir() if p.suffix in FOREIGN)
    if named:
        what = f"{named[0]} is not loaded: it may run code; convert the weights to {SINGLE} first"
        raise CheckpointError(Problem(what, where=str(path)))
    raise CheckpointError(Problem(f"has neither {SINGLE} nor {INDEX} in it", where=str(path)))


def _sharded(path: Path) -> dict[str, dict[str, Stored]]:
    index = read_json(path / INDEX)
    weight_map = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(Problem("has no weight_map from tensor to file", where=str(path / INDEX)))
    names = sorted(set(weight_map.values()))
    if len(names) > MOST_FILES:
        raise CheckpointError(Problem(f"names {len(names)} files", where=str(path / INDEX)))
    for name in names:
        if PurePath(name).name != name or not name.endswith(".safetensors"):
            what = f"names {name[:80]!r}, which is no safetensors file of this folder"
            raise CheckpointError(Problem(what, where=str(path / INDEX)))
        if not (path / name).exists():
            raise CheckpointError(Problem(f"names the file {name}, which is absent", where=str(path / INDEX)))
        if leads_out(path / name):
            raise CheckpointError(Problem(f"names the file {name}, which is a link out of the folder", where=str(path / INDEX)))
    found = {name: read_header(path / name) for name in names}
    _agree(path, weight_map, found)
    return found


def _agree(path: Path, weight_map: Mapping[str, str], found: Mapping[str, Mapping[str, Stored]]) -> None:
    for key, name in weight_map.items():
        if key not in found[name]:
            raise CheckpointError(Problem(f"says that {key} is in {name}, which does not hold it", where=str(path / INDEX)))
    for name, keys in found.items():
        for key in keys:
            if weight_map.get(key) != name:
                other = f"says that {key} is in {weight_map[key]}" if key in weight_map else f"does not name {key}"
                raise CheckpointError(Problem(f"{other}, but {name} holds it", where=str(path / INDEX)))
