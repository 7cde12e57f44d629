"""SIGTERM in each phase of a run: exit 75, nothing lost, and in the end the bits of the run that nobody stopped.

Every phase is recognized from outside, by what the run has said and written. The process is frozen there and looked at once more
before the signal is sent, so that a phase that is counted was hit.
"""

import functools
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmkit.errors import Interrupted
from lmkit.run.material import CACHE
from lmkit.training import tags
from lmkit.training.logging import read_metrics
from tools.faults.prints import differences, fingerprint, saved_to, trained_to
from tools.faults.processes import Arguments, Process, Start, afresh, finish, forked, freeze, never_left_behind, shell, thaw, train
from tools.faults.table import Lab, Row

TRIES = 5  # starts in which a phase that is short may be missed
EVALUATED = 4  # steps between evaluations in both specs


@dataclass
class Scene:
    """A run as it looks from outside while a process works on it."""

    run: Path
    log: Path
    pid: int
    began: float = field(default_factory=time.time)

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def steps(self) -> bool:
        """Whether the bar has said a step."""
        return re.search(r"^step \d", self.said, re.MULTILINE) is not None

    @property
    def watches(self) -> bool:
        """Whether the process has a handler of its own for SIGTERM."""
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        return caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)

    @property
    def is_built(self) -> bool:
        """Whether the model is there: what it runs on is noted then."""
        path = self.run / "environment.json"
        return path.exists() and path.stat().st_mtime >= self.began

    @property
    def is_saving(self) -> bool:
        return any(self.run.glob("checkpoints/.tmp-step-*"))

    @property
    def is_evaluating(self) -> bool:
        """Whether the newest point is of a step that is evaluated next."""
        lines = list(read_metrics(self.run))
        return bool(lines) and lines[-1]["kind"] == tags.TRAIN and lines[-1]["step"] % EVALUATED == 0 and not self.is_saving


def _python(scene: Scene) -> bool:
    return not scene.watches


def _startup(scene: Scene) -> bool:
    return scene.watches and not scene.said and not scene.run.exists()


def _begun(scene: Scene) -> bool:
    return (scene.run / "run.lock").exists() and not scene.said


def _loading(scene: Scene) -> bool:
    return "rows for training" in scene.said and not scene.is_built


def _tokenizer(scene: Scene) -> bool:
    return "training the tokenizer" in scene.said and not (scene.run / "tokenizer.json").exists()


def _tokens(scene: Scene) -> bool:
    return (scene.run / "tokenizer.json").exists() and any((scene.run.parent / CACHE).glob(".*")) and "rows for" not in scene.said


def _compile(scene: Scene) -> bool:
    return scene.is_built and not scene.steps


def _train(scene: Scene) -> bool:
    return scene.steps and not scene.is_saving and not scene.is_evaluating


def _evaluation(scene: Scene) -> bool:
    return scene.steps and scene.is_evaluating


def _save(scene: Scene) -> bool:
    return scene.is_saving


PHASES: dict[str, tuple[Callable[[Scene], bool], ...]] = {  # in turn
    "startup": (_startup, _begun),
    "data preparation": (_tokenizer, _tokens),
    "compile": (_compile,),
    "train": (_train,),
    "evaluation": (_evaluation,),
    "save": (_save,),
    "fine-tune start": (_loading, _compile),
    "mid-accumulation": (_train,),
}
BEFORE = "before lmkit watches"  # Python's own start, where the signal itself ends the process
WAITS = {BEFORE: 0.02, "startup": 0.8}  # seconds from the start, at most; in all others 0.1
TUNED = ("fine-tune start", "mid-accumulation")  # in the run that goes on from another; the rest in a plain one


@dataclass
class Hits:
    """What came of the signals in one phase."""

    codes: list[int] = field(default_factory=list)
    lost: int = 0
    missed: int = 0
    wrong: list[str] = field(default_factory=list)


def rows(lab: Lab) -> Iterator[Row]:
    """Rounds of one signal in each phase: the same run is stopped in one after the other, then comes to its end."""
    if lab.short:
        return
    base, rounds = lab.folder("0"), lab.many(0, 5)
    plain = train("tiny.yaml")
    tuned = train("tuned.yaml", f"model.from={base / 'plain'}")
    expected = {"plain": _in_peace(plain, base / "plain", lab), "tuned": _in_peace(tuned, base / "tuned", lab)}
    hits = {phase: Hits() for phase in (BEFORE, *PHASES)}
    equal = 0
    for number in range(rounds):
        for name, arguments in (("plain", plain), ("tuned", tuned)):
            run = lab.folder(f"{name}-{number}") / "run"
            for phase in hits:
                if (phase in TUNED) == (name == "tuned"):
                    _signalled(phase, number, arguments, run, hits[phase], lab)
            _in_peace(arguments, run, lab)
            wrong = differences(fingerprint(run), expected[name])
            lab.say(f"round {number}, {name}: {wrong[:3] or 'bit-identical'}")
            equal += not wrong
    for phase, found in hits.items():
        yield _row(phase, rounds, found)
    result = f"{equal}/{2 * rounds} runs bit-identical after 6 or 2 stops each"
    yield Row("SIGTERM", "the end of the runs stopped so", result, "all", equal == 2 * rounds)


def _row(phase: str, rounds: int, found: Hits) -> Row:
    code, says = (-signal.SIGTERM, "ended by the signal, nothing begun") if phase == BEFORE else (Interrupted.exit_code, "exit 75")
    right = found.codes.count(code)
    result = f"{right}/{rounds} {says}" + (f", {found.missed} not hit" if found.missed else "")
    result += f"; {found.lost} steps lost" + "".join(f"; {wrong}" for wrong in found.wrong)[:300]
    well = right == rounds and not (found.missed or found.lost or found.wrong)
    return Row("SIGTERM", phase, result, f"{says}, 0 steps lost", well)


def _in_peace(arguments: Arguments, run: Path, lab: Lab) -> dict:
    log = run.with_name(f"{run.name}.log")
    finish(forked(arguments)(run, log), log, limit=lab.limit)
    return fingerprint(run)


def _signalled(phase: str, number: int, arguments: Arguments, run: Path, hits: Hits, lab: Lab) -> None:
    """One start, stopped in the phase; where the phase was over before it was seen, once more from where it began."""
    log, before, aims = run.with_name(f"{phase}.log"), lab.base / "before", PHASES.get(phase, (_python,))
    aim = aims[number % len(aims)]
    shutil.copytree(run.parent, before)
    for _ in range(TRIES):
        process = _start(phase, arguments)(run, log)
        scene, wait = Scene(run, log, process.pid), time.monotonic() + lab.chance.uniform(0, WAITS.get(phase, 0.1))
        with never_left_behind(process):
            hit = freeze(process, functools.partial(_after, wait, aim, scene), limit=lab.limit)
            code = _stopped(process, lab.limit)
        if hit:
            break
        lab.say(f"{phase}: not hit")
        shutil.rmtree(run.parent)
        shutil.copytree(before, run.parent)
    hits.missed += not hit
    shutil.rmtree(before)
    if code != (-signal.SIGTERM if phase == BEFORE else Interrupted.exit_code) or (phase == BEFORE and run.exists()):
        hits.wrong.append(f"exit {code}: {scene.said[-200:]}")
    hits.codes.append(code)
    hits.lost += trained_to(run) - saved_to(run)
    lab.say(
        f"{phase} ({aim.__name__}): exit {code}, trained {trained_to(run)}, saved {saved_to(run)}: {scene.said.strip().splitlines()[-1:]}"
    )


def _after(moment: float, aim: Callable[[Scene], bool], scene: Scene) -> bool:
    return time.monotonic() > moment and aim(scene)


def _start(phase: str, arguments: Arguments) -> Start:
    """Forked, but for what happens before TensorFlow is there."""
    if phase not in (BEFORE, "startup"):
        return forked(arguments)
    return afresh(lambda run: [*shell("tiny.yaml")(run)[:3], *arguments(run)])


def _stopped(process: Process, limit: float) -> int:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
        thaw(process)
    return process.wait(timeout=limit)
