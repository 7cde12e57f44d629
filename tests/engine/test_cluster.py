"""What TF_CONFIG, SLURM and Kubernetes say in the environment becomes one list of addresses, or one line of what is wrong."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lmkit.cli import VERBS, Parser
from lmkit.engine.cluster import Cluster, cluster_of, hosts_of
from lmkit.errors import Interrupted, MachineError

TWO = ["a:2222", "b:2222"]
STEP = {
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "gpu[09-10]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_PROCID": "2",
    "SLURM_JOB_ID": "123456",
}
POD = {"LMKIT_WORKERS": "2", "LMKIT_SERVICE": "lm", "HOSTNAME": "train-1"}


def config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_tf_config_puts_the_chief_first():
    assert cluster_of(config({"worker": TWO}, index=1)) == Cluster(("a:2222", "b:2222"), 1, "TF_CONFIG")
    assert cluster_of(config({"chief": ["c:1"], "worker": TWO}, index=1)) == Cluster(("c:1", "a:2222", "b:2222"), 2, "TF_CONFIG")
    assert cluster_of(config({"chief": ["c:1"], "worker": TWO}, "chief")).is_chief


@pytest.mark.parametrize(
    ("workers", "most"),
    [(("a:1", "b:1"), 1), (("a:1", "a:2", "b:1"), 2), (("localhost:1", "127.0.0.1:2", "[::1]:3"), 3), (("[fe80::1]:1", "[fe80::1]:2"), 2)],
)
def test_processes_of_one_machine_are_counted(workers, most):
    assert Cluster(workers, 0, "TF_CONFIG").most_on_a_host() == most


def test_one_process_is_no_cluster():
    for environment in ({}, {"TF_CONFIG": "{}"}, config({"worker": ["a:1"]}), {"SLURM_STEP_NUM_TASKS": "1"}, POD | {"LMKIT_WORKERS": "1"}):
        assert cluster_of(environment) is None


def test_a_slurm_step_gives_each_task_of_a_machine_a_port():
    found = cluster_of(STEP)
    assert found == Cluster(("gpu09:23456", "gpu09:23457", "gpu10:23456"), 2, "SLURM")
    assert found.watched() == [0] and cluster_of(STEP | {"SLURM_PROCID": "0"}).watched() == [1, 2]


def test_pods_find_each_other_by_the_names_that_kubernetes_gives_them():
    assert cluster_of(POD) == Cluster(("train-0.lm:12345", "train-1.lm:12345"), 1, "LMKIT_WORKERS")
    assert cluster_of(POD | {"JOB_COMPLETION_INDEX": "0"}).is_chief


@pytest.mark.parametrize(
    ("environment", "what"),
    [
        ({"TF_CONFIG": "{"}, "expected {"),
        ({"TF_CONFIG": "[]"}, "expected {"),
        (config({"worker": "a:1"}), "expected {"),
        (config({"worker": TWO}, index=2), "has the index 2, and there are 2"),
        (config({"worker": ["a:1", "a:1"]}), "two processes have the address a:1"),
        (config({"worker": ["a", "b:1"]}), "got a"),
        (config({"worker": TWO, "ps": ["p:1"]}), "remove ps"),
        ({name: value for name, value in STEP.items() if name != "SLURM_PROCID"}, "SLURM_PROCID is missing"),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "3"}, "do not fit"),
        (STEP | {"SLURMD_NODENAME": "gpu09"}, "--distribution=block"),
        (POD | {"LMKIT_WORKERS": "two"}, "expected the number of pods"),
        (POD | {"HOSTNAME": "laptop"}, "name-0, name-1"),
        ({"TF_CONFIG": json.dumps({"cluster": {"worker": TWO}, "task": {"type": "worker"}})}, "expected {"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1e400}}'}, "expected {"),
        ({"TF_CONFIG": "[" * 20_000}, "expected {"),
        (config({"worker": ["a:0", "b:1"]}), "got a:0"),
        (config({"worker": ["a:1", "b:99999"]}), "got b:99999"),
        (POD | {"LMKIT_WORKERS": "1" * 5000}, "expected the number of pods"),
        (POD | {"LMKIT_WORKERS": "100000000000"}, "at most 10,000"),
        (STEP | {"SLURM_STEP_NODELIST": "n[01-"}, "expected nodes such as"),
        (STEP | {"SLURM_STEP_NODELIST": "n[1-999999999]"}, "at most 10,000"),
        (STEP | {"SLURM_STEP_TASKS_PER_NODE": "9(x999999999)"}, "at most 10,000"),
        (STEP | {"SLURM_PROCID": "first"}, "expected a number in SLURM_PROCID"),
    ],
)
def test_a_description_that_is_not_whole_is_refused_in_a_line(environment, what):
    with pytest.raises(MachineError) as error:
        cluster_of(environment)
    assert what in str(error.value) and str(error.value).startswith("environment: ") and "\n" not in str(error.value)


@given(st.integers(0, 200), st.integers(0, 20), st.integers(1, 4))
def test_a_span_of_hosts_is_every_host_of_it(first, more, width):
    span = f"n[{first:0{width}}-{first + more:0{width}},x]".replace(",x", "")
    assert hosts_of(f"a,{span},z9") == ["a", *(f"n{i:0{width}}" for i in range(first, first + more + 1)), "z9"]


def fences(language: str) -> list[str]:
    """The examples of docs/distributed.md in a language."""
    text = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def lmkit_reads(words: list[str]) -> bool:
    """Whether a command of the examples is one that lmkit takes."""
    parser = Parser()
    _, declare, _ = VERBS[words[1]]
    declare(parser)
    return words[0] == "lmkit" and bool(parser.parse_intermixed_args(words[2:]))


def test_the_two_machines_of_the_documentation_find_each_other() -> None:
    examples = [example for example in fences("") if "export TF_CONFIG" in example]
    found = []
    for example in examples:
        export, command = example.splitlines()
        name, value = shlex.split(export)[1].split("=", 1)
        found.append(cluster_of({name: value}))
        assert lmkit_reads(shlex.split(command))
    workers = ("one:12345", "two:12345")
    assert found == [Cluster(workers, 0, "TF_CONFIG"), Cluster(workers, 1, "TF_CONFIG")]


def test_the_tasks_of_the_slurm_script_of_the_documentation_find_each_other() -> None:
    (script,) = [example for example in fences("bash") if "#SBATCH" in example]
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    options = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in script.splitlines() if line.startswith("#SBATCH"))
    nodes, each = int(options["nodes"]), int(options["ntasks-per-node"])
    step = {
        "SLURM_STEP_NUM_TASKS": str(nodes * each),
        "SLURM_STEP_NODELIST": f"n[1-{nodes}]",
        "SLURM_STEP_TASKS_PER_NODE": f"{each}(x{nodes})",
        "SLURM_JOB_ID": "7",
    }
    found = [cluster_of(step | {"SLURM_PROCID": str(i), "SLURMD_NODENAME": f"n{i // each + 1}"}) for i in range(nodes * each)]
    assert found == [Cluster(("n1:20007", "n2:20007"), i, "SLURM") for i in range(2)]
    (command,) = [line.split("srun --kill-on-bad-exit=0 ")[1] for line in script.splitlines() if line.startswith("srun")]
    assert lmkit_reads(shlex.split(command)) and options["distribution"] == "block" and "requeue" in options


def test_the_pods_of_the_manifest_of_the_documentation_find_each_other() -> None:
    service, job = yaml.safe_load_all(fences("yaml")[0])
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {one["name"]: one["value"] for one in container["env"]}
    name, count = job["metadata"]["name"], spec["completions"]
    found = [cluster_of(told | {"HOSTNAME": f"{name}-{i}", "JOB_COMPLETION_INDEX": str(i)}) for i in range(count)]
    port = container["ports"][0]["containerPort"]
    assert found == [Cluster(tuple(f"{name}-{i}.{pod['subdomain']}:{port}" for i in range(count)), i, "LMKIT_WORKERS") for i in range(2)]
    assert spec["parallelism"] == count and spec["completionMode"] == "Indexed"
    assert service["metadata"]["name"] == pod["subdomain"] and service["spec"]["selector"] == {"job-name": name}
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert lmkit_reads(container["command"])
    ends = spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]
    assert Interrupted.exit_code not in ends and MachineError.exit_code not in ends and pod["restartPolicy"] == "Never"
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
