"""A trained run in memory, to evaluate, predict or generate with."""

from dataclasses import dataclass
from pathlib import Path

from lmkit.checkpoints.find import read_model
from lmkit.checkpoints.manifest import require
from lmkit.engine import devices
from lmkit.heads.model import Model
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory, existing_run
from lmkit.run.load import load
from lmkit.run.model import build_model, variables_of
from lmkit.run.spec import RunSpec
from lmkit.text.build import load_tokenizer
from lmkit.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class OpenedRun:
    """A run's words and its model, filled with the best checkpoint or else the newest."""

    directory: RunDirectory
    spec: RunSpec
    tokenizer: Tokenizer
    model: Model
    labels: dict[str, tuple[str, ...]]
    step: int


def open_trained(path: Path, console: Console) -> OpenedRun:
    """Reads a run directory without taking its lock, so that a run in training can be looked at. Computes in float32.

    Raises CheckpointError where there is no run, no checkpoint, or none that fits the run's own words.
    """
    directory = existing_run(path)
    spec = load(directory.resolved).spec
    tokenizer = load_tokenizer(directory.tokenizer)
    found = read_model(path, say=console.err)
    devices.configure()
    devices.set_precision("float32")
    labels = {name: tuple(names) for name, names in directory.notes.get("labels", {}).items()}
    model = build_model(spec, vocab_size=tokenizer.vocab_size, labels=labels)
    variables = variables_of(model)
    require(found.model, variables, found.path)
    for name, variable in variables.items():
        variable.assign(found.model[name])
    return OpenedRun(directory, spec, tokenizer, model, labels, found.step)
