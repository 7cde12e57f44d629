"""The short form of `python -m tools.faults`: what breaks a run without TensorFlow, and that the campaigns notice what goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lmkit.checkpoints import files, own
from tools.faults import disk, locks, power, rot
from tools.faults.processes import freeze, thaw
from tools.faults.table import Lab, table


@pytest.mark.parametrize("campaign", [rot, power, locks, disk], ids=lambda module: module.__name__.rpartition(".")[2])
def test_every_fault_is_survived(tmp_path: Path, campaign) -> None:
    rows = list(campaign.rows(Lab(tmp_path / "lab", short=True)))
    assert rows and all(row.is_right for row in rows), table(rows)


def test_checkpoints_that_prove_nothing_are_found_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(own, "check_file", lambda *arguments: None)
    assert not next(rot.rows(Lab(tmp_path / "lab", short=True))).is_right


def test_names_that_are_not_synced_are_found_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files.Disk, "sync", lambda self, directory: None)
    (row,) = power.rows(Lab(tmp_path / "lab", short=True))
    assert not row.is_right and "was saved, there is 0" in row.result


def test_a_write_that_is_not_whole_is_found_out(tmp_path: Path, monkeypatch) -> None:
    def in_place(path: Path, data: bytes | str) -> None:
        path.write_bytes(b"")
        with files.machine_errors("cannot write", path):
            files.Disk().write(path, [data.encode() if isinstance(data, str) else data])

    for module in ("lmkit.run.directory", "lmkit.training.logging"):
        monkeypatch.setattr(f"{module}.write_file", in_place)
    (row,) = disk.rows(Lab(tmp_path / "lab", short=True))
    assert not row.is_right, row.result


def test_a_process_stands_still_at_the_moment_that_is_aimed_at(tmp_path: Path) -> None:
    made = tmp_path / "made"
    code = f"import time\nfor i in range(400): open({str(made)!r}, 'w').write(str(i)); time.sleep(0.02)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        assert freeze(process, made.exists, limit=60)
        before = made.read_text()
        assert subprocess.run(["sleep", "0.2"], check=True) and made.read_text() == before
        thaw(process)
        assert freeze(process, lambda: made.read_text() not in ("", before), limit=60)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
