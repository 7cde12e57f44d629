"""Bits that flip, files that are cut off or gone: each is noticed and named, and the older checkpoint is used."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from lmkit.checkpoints import own
from lmkit.checkpoints.header import read_header
from lmkit.checkpoints.manifest import Manifest
from lmkit.errors import CheckpointError
from tools.faults.table import Lab, Row

DAMAGED = 2  # the newer of two checkpoints


def rows(lab: Lab) -> Iterator[Row]:
    """Flips, truncations, and each file gone."""
    checkpoints = lab.folder("rot")
    for step in (1, DAMAGED):
        _save(checkpoints, step)
    patient = Patient(checkpoints)
    for fault, count, damage in (
        ("a bit flipped", lab.many(100, 1000), patient.flip),
        ("a file cut off", lab.many(40, 200), patient.cut),
        ("a file gone", len(patient.files), patient.drop),
    ):
        found = [damage(lab.chance.random(), lab.chance.randrange(8), i) for i in range(count)]
        missed = [name for name in found if name]
        lab.say(f"{fault}: {count - len(missed)}/{count} {missed[:3]}")
        result = f"{count - len(missed)}/{count} noticed and named, the older one used" + (f"; first missed: {missed[0]}" if missed else "")
        yield Row(fault, f"own.verify and own.load of a checkpoint of {patient.size:,} bytes", result, "all", not missed)


class Patient:
    """A checkpoint that is damaged, looked at, and healed."""

    def __init__(self, checkpoints: Path) -> None:
        self.checkpoints, self.path = checkpoints, checkpoints / own.name_of(DAMAGED)
        self.manifest = own.verify(self.path)
        self.files = {file.name: file.read_bytes() for file in sorted(self.path.iterdir())}
        self.size = sum(map(len, self.files.values()))

    def flip(self, place: float, bit: int, number: int) -> str:
        """Flips one bit of all that the checkpoint consists of; says what was not noticed."""
        name, at = self._at(int(place * self.size))
        data = bytearray(self.files[name])
        data[at] ^= 1 << bit
        return self._harmed(name, lambda file: file.write_bytes(data), _tensor_at(self.path, self.manifest, name, at))

    def cut(self, place: float, bit: int, number: int) -> str:
        """Cuts a file off anywhere, the next file every time."""
        name = list(self.files)[number % len(self.files)]
        return self._harmed(name, lambda file: file.write_bytes(self.files[name][: int(place * len(self.files[name]))]))

    def drop(self, place: float, bit: int, number: int) -> str:
        """Takes a file away."""
        return self._harmed(list(self.files)[number], Path.unlink)

    def _at(self, place: int) -> tuple[str, int]:
        for name, data in self.files.items():
            if place < len(data):
                return name, place
            place -= len(data)
        raise AssertionError("the place is in no file")

    def _harmed(self, name: str, harm: Callable[[Path], object], tensor: str = "") -> str:
        file = self.path / name
        harm(file)
        said, told = _complaint(self.path), list[str]()
        used = own.load(self.checkpoints, say=told.append)
        file.write_bytes(self.files[name])
        if name not in said or tensor not in said:
            return f"{name} {tensor}: said was {said!r}"
        return "" if used and used.step < DAMAGED and told else f"{name}: the older checkpoint was not used"


def _complaint(checkpoint: Path) -> str:
    try:
        own.verify(checkpoint)
    except CheckpointError as error:
        return str(error)
    return ""


def _save(checkpoints: Path, step: int) -> None:
    numbers = np.random.default_rng(step)
    model = {f"decoder.layers.{i}.kernel": numbers.normal(size=(16, 32)).astype(np.float32) for i in range(4)}
    slots = {f"{name}/{slot}": numbers.normal(size=value.shape).astype(np.float32) for name, value in model.items() for slot in "mv"}
    own.save(checkpoints, step, model=model, optimizer=slots, state={"step": step}, facts={"data": "abc"})


def _tensor_at(checkpoint: Path, manifest: Manifest, name: str, at: int) -> str:
    """The tensor that the byte belongs to, empty for bytes of a header or of another file."""
    if not name.endswith(".safetensors"):
        return ""
    for key, tensor in read_header(checkpoint / name).items():
        if tensor.start <= at < tensor.stop:
            return key
    return ""
