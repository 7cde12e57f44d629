"""The door inwards: a foreign folder as words and tensors of ours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lmkit.checkpoints.header import FLOATS, NUMPY, Stored
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import truth, whole
from lmkit.checkpoints.hub.folder import CONFIG, Folder, open_folder
from lmkit.checkpoints.hub.heads import in_table, tasks_of
from lmkit.checkpoints.hub.keras_hub.known import PRESETS
from lmkit.checkpoints.hub.keras_hub.preset import is_preset, open_preset
from lmkit.checkpoints.hub.known import FAMILIES, family_of
from lmkit.checkpoints.hub.plan import Move, Plan, Shape, make_plan
from lmkit.checkpoints.hub.roles import require_roles
from lmkit.checkpoints.hub.words import Flat, head_width, nested, word_at
from lmkit.checkpoints.manifest import Difference
from lmkit.checkpoints.tensors import first_not_finite
from lmkit.errors import CheckpointError, Problem


@dataclass(frozen=True)
class Imported:
    """A folder's model: `model` and `tasks` in words, `labels` by task; the weights are read when they are asked for."""

    folder: Folder
    family: Family
    config: Mapping[str, Any]  # of the model itself, where it stands inside that of a larger one
    flat: Flat
    tasks: dict[str, dict[str, Any]]
    labels: dict[str, tuple[str, ...]]
    vocab_size: int
    max_length: int

    @cached_property
    def model(self) -> dict[str, Any]:
        """The words of the body."""
        return nested(self.flat)

    def key_of(self, path: str) -> str:
        """The keys of the config that say what stands at a path of the words, or the path where none is known to."""
        side, _, rest = path.partition(".")
        word = word_at(self.flat, rest) if side == "model" else ""
        return ", ".join(self.family.keys_of(self.config, word)) or path

    def plan(self, shapes: Mapping[str, Shape]) -> Plan:
        """Where each variable of the model lies in the folder.

        Raises CheckpointError naming what is missing, what is too much and what has another shape or dtype.
        """
        kinds = {name: task["kind"] for name, task in self.tasks.items()}
        theirs = {in_table(name, kinds): shape for name, shape in shapes.items()}
        plan = make_plan(
            self.family.table(self.flat), theirs, heads=self.flat.get("num_heads", 1), width=head_width(self.flat), keys=self.folder.tensors
        )
        self._check(plan)
        return plan

    def tensors(self, shapes: Mapping[str, Shape]) -> "Tensors":
        """The variables that a model of these shapes has, each read when it is asked for."""
        kinds = {name: task["kind"] for name, task in self.tasks.items()}
        return Tensors(self.folder, self.plan(shapes), {in_table(name, kinds): name for name in shapes}, shapes)

    def _check(self, plan: Plan) -> None:
        where = str(self.folder.path)
        if plan.homeless:
            what = f"{plan.homeless[0]} has no place in the files of {self.family.model_type}"
            raise CheckpointError(Problem(what, where=where))
        shaped = []
        for move in plan.moves:
            stored = self.folder.tensors.get(move.key)
            if stored is not None and stored.shape != move.shape:
                shaped.append(
                    f"{move.key} is {list(stored.shape)} in the file, the model needs {list(move.shape)}{self._who(move, stored)}"
                )
            elif stored is not None and stored.dtype not in FLOATS:
                shaped.append(f"{move.key} is {stored.dtype} in the file, the model needs real numbers")
        difference = Difference(tuple(sorted(plan.missing)), tuple(sorted(plan.unknown)), tuple(shaped))
        if difference:
            raise CheckpointError(Problem(str(difference), where=where))
        computed = self.family.computed.tables(self.flat, self.max_length) if self.family.computed else {}
        for key in plan.kept:
            table, stored = computed.get(key.removeprefix(plan.prefix)), self.folder.tensors[key]
            if table is not None and (stored.shape != table.shape or not np.allclose(stored.floats(), table, atol=2e-2)):
                raise CheckpointError(Problem(f"{key} does not hold the sines and cosines that this family has", where=where))
        for alias, key in plan.aliases.items():
            one, other = self.folder.tensors[alias], self.folder.tensors[key]
            if one.shape != other.shape or not np.array_equal(one.read(), other.read()):
                raise CheckpointError(Problem(f"{alias} is tied to {key} but holds other values", where=where))

    def _who(self, move: Move, stored: Stored) -> str:
        """The keys of the config that say what the shape should be."""
        wanted = [size for size, found in zip(move.shape, stored.shape, strict=False) if size != found]
        keys = [f"{key} = {size}" for size in wanted for key, value in self.config.items() if type(value) is int and value == size]
        return f" ({CONFIG}: {', '.join(dict.fromkeys(keys))})" if keys else ""


def family_kept(config: Mapping[str, Any]) -> tuple[Family, Mapping[str, Any]]:
    """As `family_of`, for the config.json of a folder of either format that was read once and kept."""
    if "registered_name" not in config:
        return family_of(config)
    return family_of({**config["config"], "model_type": config["class_name"]}, PRESETS)


def read_folder(path: Path) -> Imported:
    """Reads a folder's words; of its weights only the headers.

    Raises CheckpointError for a family or an option that lmkit has not, and for files that are absent, damaged or may run code.
    """
    preset = is_preset(path)
    folder = open_preset(path) if preset else open_folder(path)
    try:
        family, config = family_of(folder.config, PRESETS if preset else FAMILIES)
        vocab_size = whole(config, family.vocabulary, least=1)
        tasks, labels = tasks_of(family, folder, config)
        require_roles(config, vocab_size, {task["kind"] for task in tasks.values()})
        flat = family.read(config)
        tied = _tied(family, folder, config, flat)
        sides = ("output", "none") if "tie_embeddings" in flat else ("all", "inputs")  # a family says it where each has its table
        flat["tie_embeddings"] = tied if flat["kind"] != "encoder_decoder" else sides[not tied]
        length = flat.get("position.embedding.max_length") or whole(config, family.max_length, 512)
        length *= flat.get("position.rotation.scaling.factor", 1) if flat.get("position.rotation.scaling.kind") == "dynamic" else 1
        return Imported(folder, family, config, flat, tasks, labels, vocab_size, int(length))
    except CheckpointError as error:
        raise CheckpointError(
            *(Problem(p.what, p.key, str(path / p.where) if p.where == CONFIG else p.where) for p in error.problems)
        ) from None
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, ArithmeticError) as error:
        what = f"holds a value of a kind that it cannot have: {type(error).__name__}: {str(error)[:100]}"
        raise CheckpointError(Problem(what, where=str(path / CONFIG))) from None


def _tied(family: Family, folder: Folder, config: Mapping[str, Any], flat: Flat) -> bool:
    """Whether the output projection is the token table: as the config says, unless the file has another one."""
    said = truth(config, "tie_word_embeddings", family.tied) or not family.tie_said
    own = next((folder.tensors[key] for key in family.output if key in folder.tensors), None)
    if own is None or not said:
        return said
    table = family.table(flat)
    token = make_plan(table, {"embeddings.token.embedding": own.shape}, heads=1, keys=folder.tensors).moves
    same = folder.tensors.get(token[0].key) if token else None
    return same is not None and same.shape == own.shape and bool(np.array_equal(same.read(), own.read()))


class Tensors(Mapping[str, np.ndarray]):
    """A model's variables by name, as they are stored; each look-up reads from the files, so that nothing is held here."""

    def __init__(self, folder: Folder, plan: Plan, names: Mapping[str, str], shapes: Mapping[str, Shape]) -> None:
        self._folder, self._shapes = folder, shapes
        self._moves: dict[str, list[tuple[Move, int]]] = {}
        for move in plan.moves:
            for piece, name in enumerate(move.names):
                self._moves.setdefault(names[name], []).append((move, piece))

    def __iter__(self) -> Iterator[str]:
        return iter(self._moves)

    def __len__(self) -> int:
        return len(self._moves)

    def __getitem__(self, name: str) -> np.ndarray:
        moves = self._moves[name]
        if moves[0][0].index is None:
            move, piece = moves[0]
            return np.ascontiguousarray(self._values(move)[piece])
        dtypes = {self._folder.tensors[move.key].dtype for move, _ in moves}
        whole = np.empty(self._shapes[name], NUMPY[dtypes.pop()] if len(dtypes) == 1 else np.float32)
        for move, piece in moves:
            whole[move.index] = self._values(move)[piece]
        return whole

    def _values(self, move: Move) -> list[np.ndarray]:
        values = self._folder.tensors[move.key].read()
        if first_not_finite({move.key: values}):
            raise CheckpointError(Problem(f"tensor {move.key} is not finite", where=str(self._folder.path)))
        return move.ours(values)
