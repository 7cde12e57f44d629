"""`lmkit doctor` says what a run would have."""

import json
import socket
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.engine.cluster import Cluster
from lmkit.engine.peers import GONE, SILENT, free_ports, listening

SPEC = str(Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml")


def test_without_a_cluster_this_process_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", SPEC]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in out] == ["devices", "strategy", "processes"] and "alone" in out[2]
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replicas"] == 1


def test_each_other_process_answers_or_is_told_why_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        workers = [f"127.0.0.1:{port}" for port in (*free_ports(3), silent.getsockname()[1])]
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}))
        with listening(Cluster(tuple(workers), 1, "TF_CONFIG")):
            assert main(["doctor", SPEC, "--wait", "1"]) == 5
            out = capsys.readouterr().out.splitlines()
            assert out[1].startswith("strategy: multi_worker") and "the chief, worker 0 of 4" in out[2]
            assert out[3] == f"worker 1 of 4 at {workers[1]} answers" and f"does not answer: {GONE}" in out[4]
            assert f"does not answer: {SILENT}" in out[5]
            assert main(["doctor", "--wait", "1", "--json"]) == 5
            found = json.loads(capsys.readouterr().out)
            assert [worker["problem"] for worker in found["cluster"]["workers"]] == ["", "", GONE, SILENT] and not found["ok"]


def test_a_spec_for_several_processes_needs_an_environment_that_tells_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", SPEC, "runtime.strategy=multi_worker"]) == 2
    assert "runtime.strategy: the environment tells of no other process" in capsys.readouterr().err
    assert main(["train", SPEC, "runtime.strategy=multi_worker", "runtime.replicas=2"]) == 2
    assert "runtime.replicas: a multi_worker run takes all GPUs" in capsys.readouterr().err


def test_a_tpu_that_is_not_there_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("TPU_NAME", "KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS"):
        monkeypatch.delenv(name, raising=False)
    assert main(["doctor", SPEC, "runtime.strategy=tpu"]) == 5
    assert capsys.readouterr().err == (
        "runtime.strategy: there is no TPU: TensorFlow sees none here and TPU_NAME is not set; name one with runtime.tpu, or write auto\n"
    )
    assert main(["doctor", SPEC, "runtime.tpu=local"]) == 2
    assert "runtime.tpu: strategy: auto uses no TPU by name" in capsys.readouterr().err
