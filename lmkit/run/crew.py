"""A run of several processes: the chief keeps the run directory and sends what of it the others need; they only compute."""

import base64
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from lmkit.checkpoints.files import write_file
from lmkit.engine.cluster import Cluster, Environment, cluster_of
from lmkit.engine.peers import require_all
from lmkit.errors import MachineError, Problem, SpecError
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.signals import StopRequest
from lmkit.text.folder import FACTS, KEPT, TOKENIZER
from lmkit.training.spec import Runtime

if TYPE_CHECKING:
    from lmkit.engine.tensorflow import Replicas
    from lmkit.engine.workers import Workers

TOKENIZER_FILES = (TOKENIZER, FACTS, *KEPT)
REFERENCE = "reference"


def cluster_for(runtime: Runtime, environment: Environment) -> Cluster | None:
    """The processes that the run is to have, None where this is the only one.

    Raises MachineError where the environment's description is not whole, SpecError where the spec wants several processes and
    nothing tells which.
    """
    if runtime.strategy not in ("auto", "multi_worker"):
        return None
    found = cluster_of(environment)
    if found is None and runtime.strategy == "multi_worker":
        what = "the environment tells of no other process (TF_CONFIG, a SLURM step, LMKIT_WORKERS); write auto to train with this one alone"
        raise SpecError(Problem(what, "runtime.strategy"))
    return found


def replicas_for(runtime: Runtime, console: Console) -> "Replicas":
    """What a run that is the only process computes on, with a warning where a GPU is not seen.

    Raises MachineError where there is less than the spec asks for.
    """
    from lmkit.engine import devices, tpu
    from lmkit.engine import tensorflow as engine

    devices.configure(replicas=runtime.replicas, deterministic=True)
    if runtime.strategy == "tpu" or (runtime.strategy == "auto" and runtime.replicas is None and tpu.is_here(console.environment)):
        return tpu.tpu(runtime.tpu, console.environment)
    warn_of_unseen(console)
    return engine.replicas(runtime.strategy, runtime.replicas)


def warn_of_unseen(console: Console) -> None:
    """Says where a GPU of this machine will not be used."""
    from lmkit.engine import devices

    if warning := devices.unseen(console.environment):
        console.err(f"warning: {warning}")


class Crew:
    """The processes of a run: this one alone, or those of a cluster, each of which calls the same here, in the same order."""

    def __init__(self, cluster: Cluster | None, workers: "Workers | None", stop: StopRequest, console: Console) -> None:
        self.is_chief = cluster is None or cluster.is_chief
        self.stop, self.console = stop, console if self.is_chief else _silent(console)
        self.alarm = console.err  # for what only this process can say
        self._cluster, self._workers = cluster, workers
        self._facts: dict[str, Any] = {}

    def together(self) -> AbstractContextManager[None]:
        """Around all that the processes do: the loss of one of them raises Interrupted in the others."""
        return self._workers.together() if self._workers else nullcontext()

    def devices(self, runtime: Runtime) -> "Replicas":
        """What the run computes on. Raises MachineError where there is less than the spec asks for."""
        if self._workers:
            return self._workers
        return replicas_for(runtime, self.console)

    @contextmanager
    def run_directory(self, opened: Callable[[], RunDirectory]) -> Iterator[RunDirectory]:
        """The chief's run directory, which it opens; for the others one with what the chief has sent, which is thrown away."""
        if self.is_chief:
            with opened() as run:
                yield run
            return
        assert self._workers is not None
        sent = self._workers.told(None)
        with TemporaryDirectory(prefix="lmkit-worker-") as folder:
            run = RunDirectory(Path(folder))
            for name, data in sent["files"].items():
                (run.path / name).parent.mkdir(exist_ok=True)
                write_file(run.path / name, base64.b64decode(data))
            run.note(**sent["notes"])
            self._facts = sent["facts"]
            yield run

    def agree(self, run: RunDirectory, facts: dict[str, Any]) -> None:
        """The chief sends the others the files of the tokenizer and reference, its notes and its facts.

        Raises MachineError in those that have another spec, other data or other versions.
        """
        if self._workers is None or self._cluster is None:
            return
        if self.is_chief:
            folder = run.path / REFERENCE
            paths = [run.path / name for name in TOKENIZER_FILES] + (sorted(folder.iterdir()) if folder.is_dir() else [])
            files = {str(path.relative_to(run.path)): base64.b64encode(path.read_bytes()).decode() for path in paths if path.is_file()}
            notes = {name: note for name, note in run.notes.items() if name != "saved"}  # the checkpoints stay with the chief
            self._workers.told({"files": files, "notes": notes, "facts": facts})
            return
        different = [name for name in self._facts if facts.get(name) != self._facts[name]]
        if different:
            where = self._cluster.me
            raise MachineError(*(Problem(_difference(name, facts.get(name), self._facts[name]), where=where) for name in different))


@contextmanager
def crew_of(runtime: Runtime, stop: StopRequest, console: Console) -> Iterator[Crew]:
    """The crew that the spec and the environment want, all of it there. Raises MachineError when it is not in time."""
    cluster, joined = cluster_for(runtime, console.environment), None
    if cluster is not None:
        console.err(f"{cluster.me} (by {cluster.source}): waiting for the others")
        require_all(cluster, seconds=60 * runtime.wait_minutes, stop=stop)  # before TensorFlow, whose import takes a while

        def asked() -> bool:
            stop.renew()  # TensorFlow, joining processes, takes SIGTERM for itself
            return stop()

        with console.quiet():
            from lmkit.engine import workers

            joined = workers.Workers(cluster, seconds=60 * runtime.wait_minutes, stop=asked)
        warn_of_unseen(console)
        stop.renew()
    crew = Crew(cluster, joined, stop, console)
    with crew.together():
        yield crew


def _difference(name: str, mine: Any, chiefs: Any) -> str:
    if isinstance(mine, dict) and isinstance(chiefs, dict):
        keys = [key for key in {**mine, **chiefs} if mine.get(key) != chiefs.get(key)]
        name = "; ".join(f"{key} {mine.get(key)} here and {chiefs.get(key)} at the chief" for key in keys)
        return f"{name}; all processes need the same"
    return f"the {name} is not the chief's; start all processes with the same command on the same files"


def _silent(console: Console) -> Console:
    """For processes that only compute: what they would say is what the chief says."""
    return replace(console, out=lambda line: None, err=lambda line: None, write=lambda text: None, is_terminal=False)
