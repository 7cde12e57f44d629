"""The run's lock, with real processes: exactly one holds it, and the others say who."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from lmkit.errors import MachineError
from lmkit.run.lock import BOOT_ID, take

HOLD = """
import sys
from pathlib import Path
from lmkit.run.lock import take
lock = take(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
lock.release()
"""
RACE = """
import sys, time
from pathlib import Path
from lmkit.errors import MachineError
from lmkit.run.lock import take
sys.stdin.readline()
try:
    take(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
except MachineError as error:
    print(error, flush=True)
    sys.exit(error.exit_code)
"""


def process(code: str, path: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def holder(path: Path) -> subprocess.Popen:
    started = process(HOLD, path)
    assert started.stdout is not None and started.stdout.readline() == "held\n"
    return started


def test_the_second_process_is_told_at_once_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    other = holder(path)
    with pytest.raises(MachineError, match=f"process {other.pid} on {socket.gethostname()}") as error:
        take(path)
    assert error.value.exit_code == 5
    other.communicate()
    said: list[str] = []
    take(path, say=said.append).release()
    assert said == [], "a holder that ended in order leaves nothing to remark on"


def test_the_lock_of_a_killed_process_is_taken_over_with_a_line(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    other = holder(path)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    said: list[str] = []
    lock = take(path, say=said.append)
    assert len(said) == 1 and f"process {other.pid}" in said[0]
    assert json.loads(path.read_text())["pid"] == os.getpid()
    lock.release()
    lock.release()


def test_the_lock_from_before_a_restart_is_taken_over_even_if_its_number_lives_again(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "boot": "another boot"}))
    said: list[str] = []
    take(path, say=said.append).release()
    assert len(said) == 1


def test_a_directory_that_is_taken_away_is_noticed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    lock = take(run / "run.lock")
    lock.require()
    run.rename(tmp_path / "elsewhere")
    for again in (False, True):
        if again:
            run.mkdir()
            (run / "run.lock").touch()
        with pytest.raises(MachineError, match="moved or deleted"):
            lock.require()
    lock.release()


def test_of_many_at_once_exactly_one_gets_it(tmp_path: Path) -> None:
    for round_number in range(3):
        path = tmp_path / f"run{round_number}.lock"
        racers = [process(RACE, path) for _ in range(6)]
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = [racer.stdout.readline() for racer in racers if racer.stdout is not None]
        assert answers.count("held\n") == 1
        assert all("in use by" in answer for answer in answers if answer != "held\n")
        for racer in racers:
            racer.communicate()
        assert sorted(racer.returncode for racer in racers) == [0] + [5] * 5


def test_what_a_dead_holder_left_running_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    lock = take(path)
    path.write_text(json.dumps({"pid": 2**22 + 1, "host": socket.gethostname(), "boot": json.loads(path.read_text())["boot"]}))
    with pytest.raises(MachineError, match="left running"):
        take(path)
    lock.release()


def test_a_file_system_without_locks_is_said_and_the_holder_still_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    path = tmp_path / "run.lock"
    monkeypatch.setattr("fcntl.flock", refuses)
    said: list[str] = []
    lock = take(path, say=said.append)
    assert len(said) == 1 and "this file system has no locks" in said[0]
    with pytest.raises(MachineError, match=f"process {os.getpid()} on {socket.gethostname()}"):
        take(path)
    lock.release()


def test_a_damaged_lock_file_does_not_stand_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    path.write_bytes(b"\xff not json")
    take(path).release()


def test_it_is_there_before_anything_heavy_is_imported() -> None:
    code = "import sys; import lmkit.run.lock, lmkit.run.directory; assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_where_the_file_system_has_no_locks_a_holder_that_lives_is_respected_and_a_dead_one_is_not(tmp_path: Path, monkeypatch) -> None:
    def refused(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    said: list[str] = []
    path = tmp_path / "run.lock"
    lock = take(path, say=said.append)
    assert len(said) == 1 and "has no locks" in said[0]
    with pytest.raises(MachineError, match=f"in use by process {os.getpid()} on"):
        take(path)
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    path.write_text(path.read_text().replace(str(os.getpid()), gone.stdout.strip()))
    take(path, say=said.append).release()
    assert f"taken over from process {gone.stdout.strip()}" in said[-1]
    lock.release()


def test_a_holder_that_is_about_to_write_its_name_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        name = json.dumps(
            {"pid": os.getpid(), "host": socket.gethostname(), "boot": BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""}
        )
        later = threading.Timer(0.1, lambda: path.write_text(name))
        later.start()
        with pytest.raises(MachineError, match=f"in use by process {os.getpid()} on "):
            take(path)
        later.join()
