"""Who may stop: one process alone wherever it is, several only where they come together."""

import subprocess
import sys
from pathlib import Path

import pytest

ASKS = """
import signal, sys
from pathlib import Path
from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import free_ports
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory
from lmkit.run.signals import StopRequest
stop = StopRequest()
if sys.argv[1] == "multi_worker":
    from lmkit.engine.workers import Workers
    replicas = Workers(Cluster((f"127.0.0.1:{free_ports(1)[0]}",), 0, "TF_CONFIG"), seconds=60, stop=stop)
else:
    from lmkit.engine.tensorflow import replicas
    replicas = replicas("one_device", None)
from lmkit.run.world import World
world = World(RunDirectory(Path(".")), stop, Console(print, print, print), print, replicas)
print(replicas.kind, world.asked(), world.asked_here())
stop.number = signal.SIGTERM
print(replicas.kind, world.asked(), world.asked_here())
"""


@pytest.mark.parametrize(("kind", "here"), [("one_device", True), ("multi_worker", False)])
def test_between_collectives_nobody_stops_alone(kind: str, here: bool) -> None:
    done = subprocess.run([sys.executable, "-c", ASKS, kind], capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.stdout.splitlines() == [f"{kind} False False", f"{kind} True {here}"], done.stderr
