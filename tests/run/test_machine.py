"""What stands in the way on a machine is said in a line with exit code 5, before anything is made."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.engine import devices
from lmkit.engine.peers import free_ports
from lmkit.errors import MachineError

ROOT = Path(__file__).parents[2]
SPEC = str(ROOT / "model_configs" / "debug-decoder.yaml")


def refused(words: list[str], capsys: pytest.CaptureFixture[str], run: Path) -> str:
    """The last line of `lmkit train`, which must end with 5 and leave nothing."""
    assert main(["train", SPEC, "--run-dir", str(run), *words]) == 5
    said = capsys.readouterr()
    assert not run.exists() and said.out == "" and "Traceback" not in said.err
    return said.err.splitlines()[-1]


def config(workers: list[str], index: int = 0) -> str:
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def test_a_cluster_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("", 0)) as taken:
        busy, (free, absent) = taken.getsockname()[1], free_ports(2)
        for text, what in [
            ("{", "expected {"),
            (config(["a:1", "b:1"], 2), "this process has the index 2, and there are 2"),
            (config(["a:1", "a:1"]), "two processes have the address a:1"),
            (config([f"127.0.0.1:{busy}", f"127.0.0.1:{absent}"]), f"port {busy} of the chief, worker 0 of 2 cannot be used"),
            (config([f"127.0.0.1:{free}", f"127.0.0.1:{absent}"]), f"worker 1 of 2 at 127.0.0.1:{absent} did not come in 0.001 minutes"),
        ]:
            monkeypatch.setenv("TF_CONFIG", text)
            line = refused(["runtime.wait_minutes=0.001"], capsys, tmp_path / "run")
            assert line.startswith("environment: TF_CONFIG: ") and what in line


def test_another_keras(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert main(["doctor"]) == 5
    assert capsys.readouterr().err == "environment: lmkit runs on tensorflow, and KERAS_BACKEND is torch; unset it\n"
    monkeypatch.setattr(devices.keras, "__version__", "2.15.0")
    with pytest.raises(MachineError, match=r"Keras 3\.15 or newer is needed, found 2\.15"):
        devices.configure()


def test_gpus_that_are_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", SPEC, "runtime.strategy=mirrored"]) == 5
    assert "runtime.strategy: mirrored takes all GPUs, and TensorFlow sees none" in capsys.readouterr().err
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(devices, "CARD", __file__)
    assert main(["doctor"]) == 0
    assert capsys.readouterr().err.startswith("warning: this machine has an NVIDIA card that TensorFlow does not see")
    monkeypatch.setattr(devices, "_gpus", lambda: ["GPU:0", "GPU:1"])
    assert main(["doctor", SPEC, "runtime.strategy=mirrored", "runtime.replicas=4"]) == 5
    assert capsys.readouterr().err == "runtime.replicas: 4 devices are asked for and TensorFlow sees 2 GPUs\n"


def test_no_folder_for_temporary_files() -> None:
    environment = os.environ | {"TF_CONFIG": config([f"127.0.0.1:{port}" for port in free_ports(2)], 1), "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["bash", "-c", f"ulimit -f 0; exec {sys.executable} -m lmkit doctor"]  # nothing can be written to any file
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    line = "environment: no folder for temporary files can be written; set TMPDIR to one that can\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, "", line)
