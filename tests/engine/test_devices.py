"""What a card is said to have; there is none where tests are run."""

import ctypes
from types import SimpleNamespace

import pytest

from lmkit.engine import devices


def driver(gibibytes: int, refused: int = 0) -> SimpleNamespace:
    def total(size: object, _card: object) -> int:
        size._obj.value = gibibytes * 2**30  # type: ignore[attr-defined]
        return 0

    return SimpleNamespace(cuInit=lambda _: refused, cuDeviceGet=lambda *_: 0, cuDeviceTotalMem_v2=total)


@pytest.mark.parametrize(("found", "gibibytes"), [(driver(80), 80), (driver(24), 24), (driver(80, refused=100), 16)])
def test_memory_of_a_card_is_what_its_driver_says(found: SimpleNamespace, gibibytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: found)
    monkeypatch.setattr(devices, "_gpus", lambda: ["a card"])
    assert devices.memory_bytes() == gibibytes * 2**30


def test_memory_of_a_card_without_that_driver_is_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(devices, "_gpus", lambda: ["a card"])
    assert devices.memory_bytes() == 16 * 2**30
