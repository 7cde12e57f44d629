"""Ten processes at once on one run directory: exactly one trains, the others say who does."""

import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

from lmkit.errors import MachineError
from tools.faults.processes import Process, Start, afresh, finish, forked, shell, train
from tools.faults.table import Lab, Row

PROCESSES = 10
IN_USE = MachineError.exit_code


def rows(lab: Lab) -> Iterator[Row]:
    """Races for the lock alone, and of whole trainings."""
    base = lab.folder("light")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lmkit.run.directory"])
    found = [_light_round(context, base / str(i)) for i in range(lab.many(5, 50))]
    yield _row("open_run in light processes", found)
    if lab.short:
        return
    for how, start, count in (
        ("lmkit train, forked", forked(train("tiny.yaml", "training.steps=4")), lab.many(0, 10)),
        ("lmkit train, started afresh", afresh(shell("tiny.yaml", "training.steps=4")), lab.many(0, 2)),
    ):
        base = lab.folder(how)
        found = []
        for i in range(count):
            found.append(_round(start, base / str(i) / "run", lab.limit))
            lab.say(f"{how}: {found[-1] or 'one trained'}")
        yield _row(how, found)


def _row(how: str, wrongs: Sequence[str]) -> Row:
    right = sum(not wrong for wrong in wrongs)
    result = f"{right}/{len(wrongs)} rounds of {PROCESSES}" + "".join(f"; {wrong}" for wrong in wrongs if wrong)[:300]
    return Row("processes at once", how, result, "one trains, 9 exit 5 and name it", right == len(wrongs))


def _light_round(context: multiprocessing.context.ForkServerContext, folder: Path) -> str:
    folder.mkdir()
    ready, ended = context.Barrier(PROCESSES), context.Event()
    processes = [context.Process(target=_contend, args=(folder, i, ready, ended)) for i in range(PROCESSES)]
    for process in processes:
        process.start()
    while sum(process.exitcode is not None for process in processes) < PROCESSES - 1:
        processes[0].join(0.01)
    ended.set()
    for process in processes:
        process.join()
    codes = {process.pid or 0: process.exitcode for process in processes}
    return _wrong(codes, {process.pid or 0: (folder / f"{i}.log").read_text() for i, process in enumerate(processes)})


def _contend(folder: Path, number: int, ready: Barrier, ended: Event) -> None:
    from lmkit.run.directory import open_run

    ready.wait()
    try:
        with open_run(folder / "run", spec_text="{}", resolved_text="{}", parse=lambda text: {}):
            (folder / f"{number}.log").write_text("trains")
            ended.wait(60)
    except MachineError as error:
        (folder / f"{number}.log").write_text(str(error))
        sys.exit(error.exit_code)


def _round(start: Start, run: Path, limit: float) -> str:
    run.parent.mkdir()
    logs = [run.with_name(f"{i}.log") for i in range(PROCESSES)]
    processes: list[Process] = [start(run, log) for log in logs]
    codes = {p.pid: finish(p, log, limit=limit, codes=(0, IN_USE)) for p, log in zip(processes, logs, strict=True)}
    return _wrong(codes, {p.pid: log.read_text() for p, log in zip(processes, logs, strict=True)})


def _wrong(codes: Mapping[int, int | None], said: dict[int, str]) -> str:
    """What is wrong with a round, empty when one process trained and the others named it and its host."""
    winners = [pid for pid, code in codes.items() if code == 0]
    if len(winners) != 1 or sorted(map(str, codes.values())) != ["0"] + [str(IN_USE)] * (PROCESSES - 1):
        return f"codes {sorted(map(str, codes.values()))}"
    holder = f"process {winners[0]} on {os.uname().nodename}"
    silent = [text for pid, text in said.items() if pid not in winners and holder not in text]
    return f"{len(silent)} do not name {holder}: {silent[0]}" if silent else ""
