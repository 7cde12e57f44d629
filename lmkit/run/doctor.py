"""`lmkit doctor`: the devices, strategy and processes that a run would have here, and whether the other processes answer."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import meet
from lmkit.errors import MachineError
from lmkit.run.console import Console
from lmkit.run.crew import cluster_for, replicas_for, warn_of_unseen
from lmkit.run.signals import watch
from lmkit.spec_file.load import load
from lmkit.training.spec import Runtime


def doctor(spec: Path | None, *, overrides: Sequence[str], wait: float, as_json: bool, console: Console) -> int:
    """Prints a line each; exit code 5 where another process does not answer in `wait` seconds.

    All processes of a run are asked at once: each listens for the others as long as it waits. Raises SpecError, MachineError
    where the environment's description is not whole, a device is missing or the process's own port is taken.
    """
    runtime = load(spec, overrides).spec.runtime if spec else Runtime()
    cluster = cluster_for(runtime, console.environment)
    facts: dict[str, Any] = _devices(runtime, cluster, console)
    if cluster is not None:
        with watch(console.err, saves=False) as stop:
            absent = meet(cluster, seconds=wait, stop=stop, stay=True)
        workers = [{"address": address, "problem": absent.get(i, "")} for i, address in enumerate(cluster.workers)]
        facts |= {"cluster": {"source": cluster.source, "index": cluster.index, "workers": workers}}
        facts["ok"] = not absent
    for line in [json.dumps(facts)] if as_json else _lines(facts, cluster):
        console.out(line)
    return 0 if facts["ok"] else MachineError.exit_code


def _devices(runtime: Runtime, cluster: Cluster | None, console: Console) -> dict[str, Any]:
    with console.quiet():
        from lmkit.engine import devices
    if cluster is not None:
        devices.configure()
        warn_of_unseen(console)
        facts = devices.facts()
        return _found(facts, "multi_worker", facts.count if facts.kind == "gpu" else 1)
    replicas = replicas_for(runtime, console)
    return _found(devices.facts(), replicas.kind, replicas.count)


def _found(facts: Any, strategy: str, replicas: int) -> dict[str, Any]:
    return {"ok": True, "devices": asdict(facts), "strategy": strategy, "replicas": replicas}


def _lines(facts: dict[str, Any], cluster: Cluster | None) -> Iterator[str]:
    found = facts["devices"]
    yield f"devices: {found['count']} x {found['name']}; TensorFlow {found['tensorflow']}, Keras {found['keras']}"
    yield f"strategy: {facts['strategy']}, {facts['replicas']} replica{'s' if facts['replicas'] > 1 else ''} in this process"
    if cluster is None:
        yield "processes: this one alone; TF_CONFIG, SLURM and LMKIT_WORKERS tell of no other"
        return
    yield f"processes: {len(cluster.workers)} by {cluster.source}; this is {cluster.me}"
    for i, worker in enumerate(facts["cluster"]["workers"]):
        if i != cluster.index:
            answer = f"does not answer: {worker['problem']}; run lmkit doctor there at the same time" if worker["problem"] else "answers"
            yield f"{cluster.name(i)} at {worker['address']} {answer}"
