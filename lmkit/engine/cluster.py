"""Which processes a run on several machines has, as TF_CONFIG, SLURM or Kubernetes tell each of them in its environment."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmkit.errors import MachineError, Problem

PORT = 12345  # of Kubernetes pods, each of which has an address of its own
LOOPBACK = ("localhost", "127.0.0.1", "::1")  # one machine under several names
MOST = 10_000  # processes; a description of more is taken for a slip
FIRST_PORT, PORTS = 20000, 10000  # of SLURM tasks: below those that systems give out, and another for each job of a machine
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """The processes of a run, `host:port` each, the chief first; this one has the number `index`. `source` told so."""

    workers: tuple[str, ...]
    index: int
    source: str

    @property
    def is_chief(self) -> bool:
        """Whether this process keeps the run directory."""
        return self.index == 0

    @property
    def me(self) -> str:
        """`worker 1 of 2`."""
        return self.name(self.index)

    def name(self, index: int) -> str:
        """`worker 1 of 2`, or `the chief, worker 0 of 2`."""
        return f"{'' if index else 'the chief, '}worker {index} of {len(self.workers)}"

    def most_on_a_host(self) -> int:
        """Processes of the machine that has the most of them."""
        hosts = Counter(split(address)[0] for address in self.workers)
        here = sum(count for host, count in hosts.items() if host in LOOPBACK)
        return max(here, *hosts.values())

    def watched(self) -> list[int]:
        """The processes that this one looks after: the chief all others, they the chief."""
        return list(range(1, len(self.workers))) if self.is_chief else [0]


def cluster_of(environment: Environment) -> Cluster | None:
    """The cluster that the environment describes: the first of TF_CONFIG, a SLURM step and LMKIT_WORKERS; None where there is
    but one process.

    Raises MachineError for a description that is not whole.
    """
    for read in (_tf_config, _slurm, _kubernetes):
        found = read(environment)
        if found is not None and len(found.workers) > 1:
            return _checked(found)
    return None


def _checked(cluster: Cluster) -> Cluster:
    _bounded(len(cluster.workers), cluster.source)
    seen: set[str] = set()
    for address in cluster.workers:
        if not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}", address) or not 0 < split(address)[1] < 2**16:
            raise _wrong(cluster.source, f"expected addresses such as host:{PORT}, got {address[:80]}")
        if address in seen:
            raise _wrong(cluster.source, f"two processes have the address {address}")
        seen.add(address)
    if not 0 <= cluster.index < len(cluster.workers):
        raise _wrong(cluster.source, f"this process has the index {cluster.index}, and there are {len(cluster.workers)}, from 0")
    return cluster


def _tf_config(environment: Environment) -> Cluster | None:
    text = environment.get("TF_CONFIG", "")
    if not text.strip():
        return None
    try:
        config = json.loads(text)
        jobs, task = config.get("cluster", {}), config.get("task", {})
        chief, workers = (_addresses(jobs.get(name, [])) for name in ("chief", "worker"))
        kind = task.get("type", "worker")
        index = 0 if kind == "chief" or len(chief) + len(workers) < 2 else _index(task["index"])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        raise _wrong("TF_CONFIG", f"expected {form}, got {text[:80]}") from None
    if not chief and not workers:
        return None
    others = sorted(jobs.keys() - {"chief", "worker"})
    if others or kind not in ("chief", "worker"):
        raise _wrong("TF_CONFIG", f"all processes of a run are workers, one may be the chief; remove {', '.join(others) or kind}")
    return Cluster((*chief, *workers), index if kind == "chief" else index + len(chief), "TF_CONFIG")


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError
    return tuple(value)


def _index(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
        raise ValueError
    return int(value)


def _slurm(environment: Environment) -> Cluster | None:
    if _number(environment.get("SLURM_STEP_NUM_TASKS", "1"), "SLURM", "a number in SLURM_STEP_NUM_TASKS") <= 1:
        return None
    nodes, tasks = (_required(environment, name, "SLURM") for name in ("SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"))
    rank, job = (
        _number(_required(environment, name, "SLURM"), "SLURM", f"a number in {name}") for name in ("SLURM_PROCID", "SLURM_JOB_ID")
    )
    hosts, counts = hosts_of(nodes), _counts(tasks)
    if len(hosts) != len(counts):
        raise _wrong("SLURM", f"SLURM_STEP_NODELIST={nodes} and SLURM_STEP_TASKS_PER_NODE={tasks} do not fit each other")
    port = FIRST_PORT + job % PORTS
    workers = [(host, f"{host}:{port + i}") for host, count in zip(hosts, counts, strict=True) for i in range(count)]
    here = environment.get("SLURMD_NODENAME")
    if here is not None and rank < len(workers) and workers[rank][0] != here:
        raise _wrong("SLURM", f"task {rank} runs on {here}, not on {workers[rank][0]}; start the step with --distribution=block")
    return Cluster(tuple(address for _, address in workers), rank, "SLURM")


def hosts_of(nodes: str) -> list[str]:
    """`gpu[01-03,7],login` -> gpu01, gpu02, gpu03, gpu7, login. Raises MachineError for what is no such list, or names too many."""
    spans = r"\[[0-9]{1,9}(-[0-9]{1,9})?(,[0-9]{1,9}(-[0-9]{1,9})?)*\]"
    if not re.fullmatch(rf"([^,\[\]]|{spans})+(,([^,\[\]]|{spans})+)*", nodes):
        raise _wrong("SLURM", f"expected nodes such as gpu[01-03],login in SLURM_STEP_NODELIST, got {nodes[:80]}")
    found: list[str] = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodes):
        match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if match is None:
            found.append(part)
            continue
        for span in match[2].split(","):
            first, _, last = span.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            _bounded(len(found) + len(numbers), "SLURM")
            found += [host for n in numbers for host in hosts_of(f"{match[1]}{n:0{len(first)}}{match[3]}")]
    return found


def _counts(tasks: str) -> list[int]:
    """`2(x3),1` -> 2, 2, 2, 1."""
    pairs = re.findall(r"([0-9]{1,9})(?:\(x([0-9]{1,9})\))?", tasks)
    _bounded(sum(int(count) * int(times or 1) for count, times in pairs), "SLURM")
    return [int(count) for count, times in pairs for _ in range(int(times or 1))]


def _kubernetes(environment: Environment) -> Cluster | None:
    if not environment.get("LMKIT_WORKERS"):
        return None
    count = _bounded(_number(environment["LMKIT_WORKERS"], "LMKIT_WORKERS", "the number of pods"), "LMKIT_WORKERS")
    host, service = (_required(environment, name, "LMKIT_WORKERS") for name in ("HOSTNAME", "LMKIT_SERVICE"))
    base, _, ordinal = host.rpartition("-")
    index = environment.get("JOB_COMPLETION_INDEX", ordinal)
    if not base or not re.fullmatch("[0-9]{1,9}", index):
        raise _wrong("LMKIT_WORKERS", f"pods of an Indexed Job or a StatefulSet are called name-0, name-1, ...; this one is {host}")
    return Cluster(tuple(f"{base}-{i}.{service}:{PORT}" for i in range(count)), int(index), "LMKIT_WORKERS")


def _required(environment: Environment, name: str, source: str) -> str:
    if not environment.get(name):
        raise _wrong(source, f"{name} is missing in the environment")
    return environment[name]


def _number(text: str, source: str, what: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise _wrong(source, f"expected {what}, got {text[:80]}")
    return int(text)


def _bounded(count: int, source: str) -> int:
    if count > MOST:
        raise _wrong(source, f"{count:,} processes; at most {MOST:,} are taken")
    return count


def _wrong(source: str, what: str) -> MachineError:
    return MachineError(Problem(what, source, "environment"))


def split(address: str) -> tuple[str, int]:
    """`host:port` for a socket."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def names(indices: Sequence[int], cluster: Cluster) -> str:
    """`worker 1 of 3 at host:port, worker 2 of 3 at host:port`."""
    return ", ".join(f"{cluster.name(i)} at {cluster.workers[i]}" for i in indices)
