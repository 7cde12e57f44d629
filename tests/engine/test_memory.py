"""The memory of a machine is what a process may have of it, and each of the devices that its CPU is made into has a share."""

import math
import os
from pathlib import Path

import pytest

from lmkit.engine import devices, memory


def limited(monkeypatch: pytest.MonkeyPatch, folder: Path, *texts: str) -> None:
    """The limits that a container has written down."""
    for i, text in enumerate(texts):
        (folder / f"{i}").write_text(text)
    monkeypatch.setattr(memory, "LIMITS", (*(folder / f"{i}" for i in range(len(texts))), folder / "absent"))


@pytest.mark.parametrize("texts", [("100000\n",), ("max\n", "100000\n"), ("100000\n", "9223372036854771712\n")])
def test_a_container_gives_what_it_is_limited_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, texts: tuple[str, ...]) -> None:
    limited(monkeypatch, tmp_path, *texts)
    assert memory.machine_memory() == 100_000
    assert devices.memory_bytes() == 100_000


def test_without_a_limit_it_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limited(monkeypatch, tmp_path, "max\n", "9223372036854771712\n")
    assert memory.machine_memory() == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_where_nobody_tells_there_is_no_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limited(monkeypatch, tmp_path)
    monkeypatch.delattr(os, "sysconf")
    assert memory.machine_memory() == math.inf


def test_devices_of_one_processor_share_its_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limited(monkeypatch, tmp_path, "100000\n")
    assert devices.memory_bytes(4) == 25_000
