"""A keras-hub preset as data: its JSON files laid flat as a config, and the tensors in its weights files; nothing in it is ever run."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from lmkit.checkpoints.header import Stored
from lmkit.checkpoints.hub.folder import CONFIG, MOST_FILES, Folder, read_json
from lmkit.checkpoints.hub.keras_hub.h5 import read_indices
from lmkit.checkpoints.hub.keras_hub.known import CAUSAL, PRESETS
from lmkit.errors import CheckpointError, Problem
from lmkit.text.folder import leads_out

TASK, PREPROCESSOR, METADATA = "task.json", "preprocessor.json", "metadata.json"
MODEL_WEIGHTS, TASK_WEIGHTS = "model.weights.h5", "task.weights.h5"
SHARDS = "model.weights.json"
NAMED = re.compile(r"(?:keras_hub|keras_nlp)>(\w+)")
NOT_OF_A_MODEL = ("optimizer/", "preprocessor/", "metrics/")
SPELLINGS = (  # of older writers, which Keras still reads
    (re.compile(r"_layer_checkpoint_dependencies/"), "layers/"),
    (re.compile(r"(layers/transformer_(?:en|de)coder(?:_[0-9]+)?/_self_attention_layer/)_(?=(?:query|key|value|output)_dense/)"), r"\1"),
)


def is_preset(path: Path) -> bool:
    """Whether a folder's config is that of a Keras object and not that of a Hugging Face model."""
    if not (path / CONFIG).is_file():
        return False
    config = read_json(path / CONFIG)
    return isinstance(config, dict) and "registered_name" in config


def open_preset(path: Path) -> Folder:
    """Reads the configs and the index of all weights. Raises CheckpointError naming the file that is absent or wrong."""
    name, config = _object(path / CONFIG)
    family = next((family for family in PRESETS if family.model_type == name), None)
    if family is None:
        what = f"{name} is not supported; of keras-hub lmkit reads {', '.join(one.model_type for one in PRESETS)}"
        raise CheckpointError(Problem(what, "registered_name", str(path / CONFIG)))
    policy = config.get("dtype")
    if isinstance(policy, Mapping) and policy.get("class_name") != "DTypePolicy":
        raise CheckpointError(Problem(f"{str(policy.get('class_name'))[:40]}: quantized weights are not read", "dtype", str(path / CONFIG)))
    config |= {"model_type": name, "architectures": [CAUSAL.get(name, family.bare)]}
    files = {MODEL_WEIGHTS: list(_model_files(path))}
    if (path / TASK).exists():
        config |= _task(path / TASK, config, (*family.classes, family.bare))
        config |= _labels(path, config.get("num_labels"))
        files[TASK_WEIGHTS] = [TASK_WEIGHTS] if (path / TASK_WEIGHTS).exists() else []
    if (path / PREPROCESSOR).exists():
        config.setdefault("sequence_length", _object(path / PREPROCESSOR)[1].get("sequence_length"))
    found = _tensors(path, [(logical, name) for logical, names in files.items() for name in names])
    tensors = {key: stored for keys in found.values() for key, stored in keys.items()}
    return Folder(path, config, tensors, {name: tuple(keys) for name, keys in found.items()}, "keras_hub")


def _object(path: Path) -> tuple[str, dict[str, Any]]:
    """The class of a Keras object, and its config."""
    read = read_json(path)
    found = NAMED.fullmatch(str(read.get("registered_name"))) if isinstance(read, dict) else None
    config = read.get("config") if isinstance(read, dict) else None
    if found is None or not isinstance(config, dict):
        raise CheckpointError(Problem("is no class of keras-hub with its config", "registered_name", str(path)))
    return found[1], dict(config)


def _task(path: Path, body: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """What a task says, as keys of the config: those of its head under `task.`. Its own copy of the body's config must agree with it."""
    name, config = _object(path)
    if name not in known:
        raise CheckpointError(Problem(f"{name} is not supported; lmkit reads {', '.join(known)}", "registered_name", str(path)))
    inner = config.get("backbone")
    inner = inner.get("config") if isinstance(inner, dict) else None
    if not isinstance(inner, dict):
        raise CheckpointError(Problem("is missing", "backbone", str(path)))
    for key, value in inner.items():
        if key not in ("name", "trainable", "dtype") and key in body and body[key] != value:
            raise CheckpointError(Problem(f"{str(value)[:40]}, but {CONFIG} has {str(body[key])[:40]}", f"backbone.{key}", str(path)))
    head = {f"task.{key}": value for key, value in config.items() if key not in ("backbone", "preprocessor", "name")}
    labels = {"num_labels": config["num_classes"]} if "num_classes" in config else {}
    return {"architectures": [name], **head, **labels}


def _labels(path: Path, count: Any) -> dict[str, Any]:
    """The names of the labels, which keras-hub has no place for and lmkit puts into the metadata."""
    metadata = read_json(path / METADATA) if (path / METADATA).exists() else {}
    names = metadata.get("labels") if isinstance(metadata, dict) else None
    fitting = isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names)
    return {"id2label": dict(enumerate(names))} if fitting and names else {}


def _model_files(path: Path) -> Iterator[str]:
    """The weights file, or those that their map names."""
    if (path / MODEL_WEIGHTS).exists() or not (path / SHARDS).exists():
        yield MODEL_WEIGHTS
        return
    read = read_json(path / SHARDS)
    weight_map = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(weight_map, dict):
        raise CheckpointError(Problem("has no weight_map from variables to files", where=str(path / SHARDS)))
    named = [name for names in weight_map.values() for name in (names if isinstance(names, list) else [names])]
    names = list(dict.fromkeys(map(str, named)))
    if len(names) > MOST_FILES:
        raise CheckpointError(Problem(f"names {len(names)} files", where=str(path / SHARDS)))
    for name in names:
        if PurePath(name).name != name or not name.endswith(".weights.h5"):
            raise CheckpointError(Problem(f"names {name[:80]!r}, which is no weights file of this folder", where=str(path / SHARDS)))
        if not (path / name).exists():
            raise CheckpointError(Problem(f"names the file {name}, which is absent", where=str(path / SHARDS)))
        if leads_out(path / name):
            raise CheckpointError(Problem(f"names the file {name}, which is a link out of the folder", where=str(path / SHARDS)))
        yield name


def _tensors(path: Path, files: list[tuple[str, str]]) -> dict[str, dict[str, Stored]]:
    """By file its tensors, each called by the file that it belongs to, `model.weights.h5/layers/...`, whichever shard it is in."""
    found: dict[str, dict[str, Stored]] = {}
    seen: dict[str, str] = {}
    for (logical, name), index in zip(files, read_indices([path / name for _, name in files]), strict=True):
        found[name] = {}
        for key, stored in index.items():
            if key.startswith(NOT_OF_A_MODEL):
                continue
            for older, newer in SPELLINGS:
                key = older.sub(newer, key, count=1) if older.match(key) else key
            key = f"{logical}/{key}"
            if key in seen:
                raise CheckpointError(Problem(f"tensor {key} stands twice, in {seen[key]} as well", where=str(path / name)))
            found[name][key], seen[key] = stored, name
    return found
