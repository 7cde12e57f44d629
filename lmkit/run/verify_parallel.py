"""`lmkit verify-parallel`: whether a spec computes the same on one device, on several, and in micro-batches."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lmkit.engine.peers import free_ports
from lmkit.errors import Interrupted, LmkitError, MachineError, NumericsError, Problem, SpecError
from lmkit.run.apart import Compared, compared, figures_of
from lmkit.run.code import require_permission
from lmkit.run.console import Console
from lmkit.run.crew import TOKENIZER_FILES
from lmkit.run.rehearse import WORDS
from lmkit.run.signals import watch
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.training.spec import Lion

MOST = 64  # replicas
SIGNS = "lion steps by signs, and rounding turns the sign of what is almost 0: losses, norms and momentum are compared"
PAUSE = 0.05  # seconds between two looks at the processes


@dataclass(frozen=True)
class Wish:
    """What to compare: one replica with so many, with so many processes, and with each of `also` laid over the spec.

    Without a number of replicas it is the spec's, or 2.
    """

    steps: int = 20
    replicas: int | None = None
    workers: int | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Side:
    """One way to compute a spec."""

    name: str
    overrides: tuple[str, ...] = ()
    processes: int = 1


def verify_parallel(spec: Path, *, overrides: Sequence[str], wish: Wish, as_json: bool, console: Console, allow_code: bool = False) -> int:
    """Prints how far the sides are from one replica; exit code 6 where it is more than rounding.

    Each side is a process of its own, or several. Raises what `lmkit train` raises; nothing is kept but the token caches.
    """
    loaded = load(spec, overrides)
    require_permission(loaded.spec, allowed=allow_code, where=str(spec))
    for words in wish.also:
        load(spec, [*overrides, words])
    replicas = replicas_of(loaded.spec, wish)
    sides = list(sides_of(loaded.spec, wish))
    command = [sys.executable, "-m", "lmkit.cli", "verify-parallel", str(spec), *overrides, "--json"]
    command += ["--steps", str(wish.steps), "--replicas", str(replicas), *(["--allow-code"] if allow_code else [])]
    with TemporaryDirectory(prefix="lmkit-verify-") as home, watch(console.err, saves=False) as stop:
        folders = [Path(home, str(i)) for i in range(len(sides))]
        for side, folder in zip(sides, folders, strict=True):
            console.err(f"{side.name}: {wish.steps} steps")
            folder.mkdir()
            for name in TOKENIZER_FILES:
                if (folders[0] / name).is_file():
                    shutil.copy(folders[0] / name, folder / name)
            _run(side, [*command, "--side", str(folder)], folder, console.environment, stop)
        signs = isinstance(loaded.spec.training.optimizer, Lion)
        found = [compared(side.name, folders[0], folder, signs=signs) for side, folder in zip(sides[1:], folders[1:], strict=True)]
        steps = len(figures_of(folders[0]))
    equal = not any(one.differs for one in found)
    facts = {"ok": equal, "steps": steps, "sides": [asdict(one) for one in found], "note": SIGNS if signs else ""}
    for line in [json.dumps(facts)] if as_json else [*_lines(loaded.spec.name, steps, found), *([SIGNS] if signs else [])]:
        console.out(line)
    return 0 if equal else NumericsError.exit_code


def replicas_of(spec: RunSpec, wish: Wish) -> int:
    """How many replicas are compared with one. Raises SpecError where the batch has no equal parts for so many."""
    asked = wish.replicas or spec.runtime.replicas or 2
    if wish.replicas is None and asked > MOST:
        raise SpecError(Problem(f"{asked} are too many to compare; write --replicas {MOST} or less", "runtime.replicas"))
    count, size, micro = max(asked, 2), spec.training.batch_size, _micro_batches(spec)
    if not _fits(spec, count * micro):
        fitting = sorted((n for n in range(2, MOST + 1) if _fits(spec, n * micro)), key=lambda n: abs(n - count))[:3]
        counts = " or ".join(map(str, sorted(fitting)))
        way = f"write --replicas {counts}" if counts else f"write training.batch_size={count * micro} behind the spec"
        parts = f"{count} replicas" + (f" of {micro} micro-batches" if micro > 1 else "")
        raise SpecError(Problem(f"training.batch_size = {size} is not divisible by {parts}; {way}", "--replicas", "command line"))
    return count


def _micro_batches(spec: RunSpec) -> int:
    own = spec.training.gradient_accumulation_steps
    return 1 if own == "auto" else own


def _fits(spec: RunSpec, parts: int) -> bool:
    return spec.training.batch_size % parts == 0 and not any(spec.split_groups(parts))


def sides_of(spec: RunSpec, wish: Wish) -> Iterator[Side]:
    """One replica, and what is compared with it."""
    micro, replicas = _micro_batches(spec), replicas_of(spec, wish)
    alone = ("runtime.strategy=mirrored", "runtime.tpu=null", "runtime.replicas=1", f"training.gradient_accumulation_steps={micro}")
    yield Side("1 replica", alone)
    yield Side(f"{replicas} replicas", (*alone, f"runtime.replicas={replicas}"))
    for parts in range(2 * micro, replicas * micro + 1, micro):
        if _fits(spec, parts):
            yield Side(f"{parts} micro-batches", (*alone, f"training.gradient_accumulation_steps={parts}"))
    if wish.workers:
        together = ("runtime.strategy=multi_worker", "runtime.replicas=null")
        yield Side(f"{wish.workers} processes", (*alone, *together), wish.workers)
    for words in wish.also:
        yield Side(words, (*alone, words))


def _run(side: Side, command: list[str], folder: Path, environment: Mapping[str, str], stop: Callable[[], bool]) -> None:
    """Starts the processes of a side and waits for them. Raises what the first that failed has said."""
    hosts = [f"127.0.0.1:{port}" for port in free_ports(side.processes)]
    running: list[tuple[subprocess.Popen[bytes], Path]] = []
    try:
        for index in range(side.processes):
            task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
            said = folder / f"said-{index}"
            with said.open("wb") as out:
                process = subprocess.Popen(
                    [*command, *WORDS, *side.overrides],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                    env={**environment, "TF_CONFIG": json.dumps(task)},
                )
            running.append((process, said))
        while any(process.poll() is None for process, _ in running):
            if stop():
                raise Interrupted("stopped; this command keeps nothing, start it again")
            time.sleep(PAUSE)
    finally:
        for process, _ in running:
            process.kill()
            process.wait()
    failed = [(process.returncode, said.read_text()) for process, said in running if process.returncode]
    if failed:
        code, said_last = min(failed, key=lambda one: one[0] == Interrupted.exit_code)
        raise _error(side, code, said_last)


def _error(side: Side, code: int, said: str) -> LmkitError:
    """What a process has said in JSON at its end, as the error that it was."""
    kinds = {kind.exit_code: kind for kind in LmkitError.__subclasses__()}
    try:
        problems = json.loads(said.splitlines()[-1])["problems"]
    except (IndexError, ValueError, KeyError):
        return MachineError(Problem(f"the process that computes it has ended ({code}) and says nothing", where=side.name))
    found = [Problem(one["what"], one["key"], one["where"] or side.name) for one in problems]
    return kinds.get(code, LmkitError)(*found)


def _lines(name: str, steps: int, found: Sequence[Compared]) -> Iterator[str]:
    width = max(len(one.name) for one in found)
    yield f"{name}: the first {steps} steps in float32; largest relative differences to 1 replica"
    yield f"{'':<{width}}  {'losses':>8}  {'gradient norms':>14}  {'weights, slots':>14}"
    for one in found:
        verdict = one.differs or "equal"
        yield f"{one.name:<{width}}  {one.loss:>8.1e}  {one.gradient_norm:>14.1e}  {one.weights:>14.1e}  {verdict}"
