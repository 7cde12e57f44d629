"""The door outwards: a model of ours as the folder that the rest of the world opens."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.files import Disk, new_folder, write_file
from lmkit.checkpoints.header import NUMPY, header_bytes
from lmkit.checkpoints.hub.facts import Facts
from lmkit.checkpoints.hub.fit import Fit, differing, fit
from lmkit.checkpoints.hub.folder import CONFIG, INDEX, SINGLE
from lmkit.checkpoints.hub.heads import LABELLED, SEVERAL, in_table, labels_of, pooling_files
from lmkit.checkpoints.hub.known import family_of
from lmkit.checkpoints.hub.plan import Move, Plan, make_plan
from lmkit.checkpoints.hub.words import flatten, nested
from lmkit.checkpoints.tensors import in_dtype
from lmkit.errors import CheckpointError, Problem
from lmkit.models.spec import Body
from lmkit.tasks.spec import SentenceEmbedding, Task

SHARD = 5 * 10**9
DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
METADATA = {"format": "pt"}  # older readers refuse files without it
ROLES = {"bos": "bos_token_id", "eos": "eos_token_id", "pad": "pad_token_id"}


@dataclass(frozen=True)
class Outgoing:
    """A model to write: its words, its labels by task, and the ids of its tokens by role (-1: none).

    `facts` are those of the folder it came from, if any; `dtype` stores every weight so, None as there or in float32.
    """

    spec: Body
    tasks: Mapping[str, Task]
    labels: Mapping[str, tuple[str, ...]]
    vocab_size: int
    max_length: int
    roles: Mapping[str, int]
    facts: Facts | None = None
    dtype: str | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)  # the tokenizer's files
    prefer: str = ""  # the family that comes before others, where there are no facts


def write_folder(dest: Path, model: Outgoing, tensors: Mapping[str, np.ndarray]) -> str:
    """Writes the folder, which appears when it is whole, and returns the class that opens it.

    Raises CheckpointError where no family can say what the model is, MachineError where `dest` is taken or the disk refuses.
    """
    found, model, tensors = _fitted(model, tensors)
    made = _Writing(found, model, tensors)
    with new_folder(dest, "the model is not exported") as folder:
        for name, data in made.small_files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(folder / name, data)
        for name, keys in made.files.items():
            Disk().write(folder / name, made.chunks(keys))
    return found.name


def _fitted(model: Outgoing, tensors: Mapping[str, np.ndarray]) -> tuple[Fit, Outgoing, Mapping[str, np.ndarray]]:
    """Most encoders of the world cannot be without token types: one of them that adds nothing is the same model."""
    try:
        return _fit(model), model, tensors
    except CheckpointError as problem:
        if model.spec.kind != "encoder" or model.spec.token_types:
            raise
        typed = replace(model, spec=model.spec.model_copy(update={"token_types": 1}))
        with suppress(CheckpointError):
            width = tensors["embeddings.token.embedding"].shape[1]
            return _fit(typed), typed, {**tensors, "embeddings.token_type.embedding": np.zeros((1, width), np.float32)}
        raise problem


def _fit(model: Outgoing) -> Fit:
    """As the folder had it where its config still says what the model is; else the family that fits."""
    facts = model.facts
    if facts is None:
        return fit(model.spec, model.tasks, max_length=model.max_length, prefer=model.prefer)
    family, config = family_of(facts.config)
    flat = flatten(model.spec, max_length=model.max_length)
    read = family.read(config) | {"tie_embeddings": flat["tie_embeddings"]}
    said = flatten(type(model.spec).model_validate(nested(read)), max_length=model.max_length) if read["kind"] == flat["kind"] else {}
    name = (config.get("architectures") or [family.bare])[0]
    kinds = {head.kind for head in family.classes.get(name, ())}
    same = kinds <= {task.kind for task in model.tasks.values()} | ({"classification"} if _numbers(model) else set())  # type: ignore[attr-defined]
    named = _labels(model) in ((), labels_of(config)) and _several(model) == (config.get("problem_type") == SEVERAL)
    if same and named and not differing(flat, said):
        return Fit(family, name, flat, facts.config)
    return fit(model.spec, model.tasks, max_length=model.max_length, prefer=family.model_type)


def _numbers(model: Outgoing) -> bool:
    return any(task.kind == "regression" for task in model.tasks.values())  # type: ignore[attr-defined]


def _labels(model: Outgoing) -> tuple[str, ...]:
    return next((names for name, names in model.labels.items() if model.tasks[name].kind in LABELLED), ())  # type: ignore[attr-defined]


def _several(model: Outgoing) -> bool:
    return any(getattr(task, "multi_label", False) for task in model.tasks.values())


class _Writing:
    """One export: which keys go to which file, and the bytes of each."""

    def __init__(self, found: Fit, model: Outgoing, tensors: Mapping[str, np.ndarray]) -> None:
        self.found, self.model, self.tensors = found, model, tensors
        kinds = {name: task.kind for name, task in model.tasks.items()}  # type: ignore[attr-defined]
        self.names = {in_table(name, kinds): name for name in tensors}
        self.facts = model.facts
        self.plan = self._plan()
        self.moves: dict[str, Move] = {move.key: move for move in self.plan.moves}
        self.kept = self.facts.kept if self.facts else {}
        self.computed = self._computed()
        self.files = self._files()

    def _plan(self) -> Plan:
        shapes = {name: self.tensors[ours].shape for name, ours in self.names.items()}
        table, heads = self.found.family.table(self.found.flat), self.found.flat.get("num_heads", 1)
        if self.facts is not None:
            plan = make_plan(table, shapes, heads=heads, keys=self.facts.keys)
            if not (plan.missing or plan.unknown or plan.homeless):
                return plan
        self.facts = None
        plan = make_plan(table, shapes, heads=heads)
        if plan.homeless:
            what = f"{self.names[plan.homeless[0]]} has no place in the files of {self.found.family.model_type}"
            raise CheckpointError(Problem(what, "model"))
        return plan

    def _computed(self) -> dict[str, np.ndarray]:
        """What a new file holds though it follows from the words."""
        computed = self.found.family.computed
        if self.facts is not None or computed is None or not computed.written:
            return {}
        return {self.plan.prefix + key: table for key, table in computed.tables(self.found.flat, self.model.max_length).items()}

    def dtype(self, key: str) -> str:
        if key in self.kept and key not in self.moves:
            return self.kept[key].dtype
        source = self.plan.aliases.get(key, key)
        stored = self.facts.keys[source] if self.facts else "F32"
        return DTYPES[self.model.dtype] if self.model.dtype else stored

    def shape(self, key: str) -> tuple[int, ...]:
        if key in self.computed:
            return self.computed[key].shape
        if key in self.kept and key not in self.moves:
            return self.kept[key].shape
        return self.moves[self.plan.aliases.get(key, key)].shape

    def _files(self) -> dict[str, tuple[str, ...]]:
        """As they were, or sorted by name and cut into shards where they are many."""
        known = {*self.moves, *self.plan.aliases, *self.kept, *self.computed}
        if self.facts is not None:
            return {name: tuple(key for key, _ in keys if key in known) for name, keys in self.facts.files.items()}
        shards: list[list[str]] = [[]]
        size = 0
        for key in sorted(known):
            count = int(np.prod(self.shape(key))) * NUMPY[self.dtype(key)].itemsize
            if shards[-1] and size + count > SHARD:
                shards.append([])
                size = 0
            shards[-1].append(key)
            size += count
        if len(shards) == 1:
            return {SINGLE: tuple(shards[0])}
        return {f"model-{i:05d}-of-{len(shards):05d}.safetensors": tuple(keys) for i, keys in enumerate(shards, 1)}

    def chunks(self, keys: tuple[str, ...]) -> Iterator[bytes | memoryview]:
        """The bytes of one weight file."""
        yield header_bytes([(key, self.dtype(key), self.shape(key)) for key in keys], METADATA)
        for key in keys:
            data = np.ascontiguousarray(self._stored(key))
            if data.size:
                yield data.reshape(-1).view(np.uint8).data

    def _stored(self, key: str) -> np.ndarray:
        if key in self.computed:
            return in_dtype(self.computed[key], NUMPY[self.dtype(key)], key)
        if key in self.kept and key not in self.moves:
            return self.kept[key].read()
        move = self.moves[self.plan.aliases.get(key, key)]
        held = [self.tensors[self.names[name]] for name in move.names]
        ours = held if move.index is None else [one[move.index] for one in held]
        return move.foreign([in_dtype(one, NUMPY[self.dtype(key)], key) for one in ours])

    def small_files(self) -> dict[str, bytes]:
        """config.json and what stands beside it."""
        files = dict(self.model.beside)
        if self.model.facts is not None:
            files |= {name: data for name, data in self.model.facts.beside.items() if name != CONFIG}
        for task in self.model.tasks.values() if self.model.facts is None else ():
            if isinstance(task, SentenceEmbedding):
                sizes = {"width": self.found.flat["hidden_size"], "max_length": self.model.max_length}
                files |= {name: _json(one) for name, one in pooling_files(task.pooling, task.normalize, **sizes).items()}
        unchanged = self.model.facts is not None and self.found.config == self.model.facts.config and self.model.dtype is None
        made = self.model.facts.beside[CONFIG] if unchanged and self.model.facts else _json(self.config())
        if len(self.files) > 1:
            weight_map = {key: name for name, keys in self.files.items() for key in keys}
            counts = {key: int(np.prod(self.shape(key))) for key in weight_map}
            size = sum(count * NUMPY[self.dtype(key)].itemsize for key, count in counts.items())
            totals = {"total_parameters": sum(counts.values()), "total_size": size}
            files[INDEX] = _json({"metadata": totals, "weight_map": dict(sorted(weight_map.items()))})
        return files | {CONFIG: made}

    def config(self) -> dict[str, Any]:
        """The family's keys, and those that every family has."""
        family, model = self.found.family, self.model
        code = model.dtype or next((name for name, code in DTYPES.items() if code in map(self.dtype, self.moves)), "float32")
        if model.facts is not None and self.found.config == model.facts.config:
            return {**self.found.config, **{key: code for key in ("torch_dtype", "dtype") if key in self.found.config}}
        config = {**self.found.config, "architectures": [self.found.name], "torch_dtype": code}
        config[family.vocabulary[0]] = model.vocab_size
        config.setdefault("tie_word_embeddings", self.found.flat["tie_embeddings"] in (True, "all", "output"))
        config = {key: model.roles[role] for role, key in ROLES.items() if model.roles.get(role, -1) >= 0} | config
        labels = _labels(model)
        if _numbers(model):
            labels, config["problem_type"] = ("LABEL_0",), "regression"
        if _several(model):
            config["problem_type"] = SEVERAL
        if labels:
            config |= {"id2label": {str(i): name for i, name in enumerate(labels)}, "label2id": {name: i for i, name in enumerate(labels)}}
        return config


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
