"""Stopping on request, with real signals to real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmkit.run.signals import watch

WORK = """
import sys, time
from lmkit.run.signals import watch
with watch(lambda line: print(line, file=sys.stderr, flush=True)) as stop:
    print("ready", flush=True)
    end = time.time() + 20
    while not (stop() and "{mode}" == "polite") and time.time() < end:
        time.sleep(0.01)
print("saved", stop.name, flush=True)
sys.exit(75)
"""
DEAF = """
import sys, hashlib
from lmkit.run.signals import watch
with watch(lambda line: print(line, file=sys.stderr, flush=True)) as stop:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)  # no Python runs in the main thread for minutes
"""

EARLY = """
import os, signal, sys
from lmkit import cli
class Import:  # the signal comes while lmkit is imported, before the spec is read
    def find_spec(self, name, path=None, target=None):
        if name == "lmkit.run.train":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Import())
print("ready", flush=True)
sys.exit(cli.main(["train", "spec.yaml"]))
"""


def start(code: str, *prefix: str) -> subprocess.Popen:
    command = [*prefix, sys.executable, "-c", code]
    away = (signal.SIGHUP, signal.SIGINT)  # which the tests themselves may ignore, under nohup or in the background
    inherited = [signal.signal(number, signal.SIG_DFL) for number in away]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    finally:
        for number, before in zip(away, inherited, strict=True):
            signal.signal(number, before)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_the_first_signal_asks_for_a_save_and_says_so(number: signal.Signals) -> None:
    process = start(WORK.format(mode="polite"))
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out) == (75, f"saved {number.name}\n")
    assert len(err.splitlines()) == 1 and err.startswith(number.name) and "saving" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_second_ends_the_process_at_once(number: signal.Signals, code: int) -> None:
    process = start(WORK.format(mode="stubborn"))
    process.send_signal(signal.SIGUSR1)
    assert process.stderr is not None and "saving" in process.stderr.readline()
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.1)
    assert process.poll() is None, "only SIGINT and SIGTERM insist"
    process.send_signal(number)
    process.communicate(timeout=5)
    assert process.returncode == code


def test_both_work_while_the_main_thread_runs_no_python() -> None:
    process = start(DEAF)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None and process.stderr.readline().startswith("SIGTERM")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=5)
    assert process.returncode == 143


def test_a_hangup_is_ignored_under_nohup(tmp_path: Path) -> None:
    process = start(WORK.format(mode="polite"), "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 75


def test_the_former_handlers_come_back() -> None:
    former = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    seen: list[int] = []
    try:
        said: list[str] = []
        with watch(said.append) as stop:
            assert not stop() and stop.name == ""
            os.kill(os.getpid(), signal.SIGUSR1)
            assert stop() and stop.name == "SIGUSR1" and seen == []
        os.kill(os.getpid(), signal.SIGUSR1)
        assert seen == [signal.SIGUSR1] and len(said) == 1
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_handlers_that_a_library_has_put_in_place_are_replaced() -> None:
    with watch(lambda line: None) as stop:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stop.renew()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert stop()


def test_a_closed_terminal_does_not_prevent_the_save() -> None:
    def say(line: str) -> None:
        raise BrokenPipeError

    with watch(say) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert stop()


def test_a_training_that_is_stopped_while_lmkit_is_imported_has_begun_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("some words, and some more of them\n" * 9)
    Path("spec.yaml").write_text(
        "name: a\ntokenizer: {kind: character}\ndata: {train: {text: a.txt}}\ntasks: {lm: causal_lm}\n"
        "model: {kind: decoder, num_layers: 1, hidden_size: 8, num_heads: 1}\n"
        "training: {steps: 1, batch_size: 1, optimizer: {kind: adamw, learning_rate: 1e-3}}\n"
    )
    process = start(EARLY)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    first, last = err.splitlines()
    assert first.startswith("SIGTERM: stopping")
    assert last == "stopped before the run was begun; nothing is lost, the same command goes on"
    assert not Path("runs").exists()


STARTS = """
import os, runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Import:  # Ctrl-C comes while a module is imported; where it is one that the library can do without, the library does
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            sys.meta_path.remove(self)
            try:
                os.kill(os.getpid(), signal.SIGINT)
                sum(range(10**6))
            except KeyboardInterrupt:
                if "{what}" == "passed on":
                    raise
                if "{what}" == "another error":
                    raise ImportError("no such module")
sys.meta_path.insert(0, Import())
sys.argv = ["lmkit", "doctor"]
print("ready", flush=True)
runpy.run_module("lmkit", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("module", "what"),
    [("lmkit.run.doctor", "passed on"), ("tensorflow", "passed on"), ("keras", "swallowed"), ("tensorflow", "another error")],
)
def test_ctrl_c_in_the_midst_of_imports_ends_a_verb_in_a_line_whatever_is_made_of_it_there(module: str, what: str) -> None:
    process = start(STARTS.format(module=module, what=what))
    out, err = process.communicate(timeout=120)
    assert process.returncode in (130, -signal.SIGINT)  # which a shell says as 130 too
    assert (out, err) == ("", "interrupted; nothing was saved by this command\n")


def test_ctrl_c_before_lmkit_looks_after_it_ends_the_process_without_a_word() -> None:
    process = start(STARTS.format(module="lmkit.cli", what="passed on"))
    assert process.communicate(timeout=20) == ("", "") and process.returncode == -signal.SIGINT
