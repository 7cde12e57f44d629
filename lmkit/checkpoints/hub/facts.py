"""What a run keeps of the folder that its model came from, so that its export is that folder again, byte for byte."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from lmkit.checkpoints.files import Disk, write_file
from lmkit.checkpoints.header import Stored, header_bytes, read_header
from lmkit.checkpoints.hub.folder import CONFIG, read_json
from lmkit.checkpoints.hub.plan import Shape
from lmkit.checkpoints.hub.read import Imported
from lmkit.errors import CheckpointError, Problem

SOURCE = "source.json"
KEPT = "kept.safetensors"
BESIDE = (  # small files that say how the model is used
    "generation_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)


@dataclass(frozen=True)
class Facts:
    """Weight files with (key, dtype code) in their order, tensors that the model has no use for, and small files as they were."""

    files: Mapping[str, tuple[tuple[str, str], ...]]
    kept: Mapping[str, Stored]
    beside: Mapping[str, bytes]  # config.json among them

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(self.beside[CONFIG])  # type: ignore[no-any-return]

    @property
    def keys(self) -> dict[str, str]:
        """Every key with its dtype code."""
        return {key: dtype for keys in self.files.values() for key, dtype in keys}

    def write(self, path: Path) -> None:
        """Writes the files that `read_facts` reads again into a new folder."""
        made = {SOURCE: (json.dumps({"files": self.files}, indent=1) + "\n").encode()}
        for name, data in {**self.beside, **made}.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(path / name, data)
        Disk().write(path / KEPT, self._kept())

    def _kept(self) -> Iterator[bytes]:
        yield header_bytes([(key, one.dtype, one.shape) for key, one in self.kept.items()])
        yield from (one.read().tobytes() for one in self.kept.values())


def facts_of(imported: Imported, shapes: Mapping[str, Shape]) -> Facts:
    """What there is to keep of a folder."""
    folder, plan = imported.folder, imported.plan(shapes)
    files = {name: tuple((key, folder.tensors[key].dtype) for key in keys) for name, keys in folder.files.items()}
    beside = {name: (folder.path / name).read_bytes() for name in (CONFIG, *BESIDE) if folder.json(name) is not None}
    return Facts(files, {key: folder.tensors[key] for key in (*plan.kept, *plan.ignored)}, beside)


def read_facts(path: Path) -> Facts | None:
    """The facts in a run's folder of them; None where the run was not imported."""
    if not (path / SOURCE).exists():
        return None
    try:
        files = {name: tuple((key, dtype) for key, dtype in keys) for name, keys in read_json(path / SOURCE)["files"].items()}
        if any(PurePath(name).name != name for name in files):
            raise ValueError
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(Problem("is not as lmkit import wrote it", where=str(path / SOURCE))) from None
    return Facts(
        files, read_header(path / KEPT), {name: (path / name).read_bytes() for name in (CONFIG, *BESIDE) if (path / name).exists()}
    )
