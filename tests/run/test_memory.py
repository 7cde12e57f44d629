"""A device with too little memory: micro-batches left to `auto` become smaller, and anything else is said with the keys to change."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from lmkit.cli import main
from lmkit.engine import tensorflow as engine
from lmkit.errors import OutOfMemory
from lmkit.run.decision import too_large
from lmkit.training.precision import Decision
from lmkit.training.step import Step

DECODER = str(Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml")
FEW = ("training.steps=6", "training.precision=float32", "logging.samples=[]", "data.validation=null", "training.evaluate_every=null")


def exhausted(*anything: Any) -> None:
    raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,4096]\nmore")


def test_auto_micro_batches_are_halved_until_a_step_fits_and_stay_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    compiled, one_step = [], Step._one_step

    def short(self: Step, *arguments: Any) -> Any:
        compiled.append(self._micro_batches)
        return one_step(self, *arguments) if self._micro_batches == 4 else exhausted()

    monkeypatch.setattr(Step, "_one_step", short)
    assert main(["train", DECODER, "--run-dir", str(tmp_path / "run"), *FEW, "training.gradient_accumulation_steps=auto"]) == 0
    assert compiled == [1, 2, 4]  # what fits is compiled for the trial and the training alike
    assert json.loads((tmp_path / "run" / "run.json").read_text())["decisions"]["micro_batches"] == 4
    assert "trying 4" in capsys.readouterr().err


def test_a_step_without_room_ends_with_an_estimate_and_the_keys_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(Step, "_one_step", exhausted)
    assert main(["train", DECODER, "--run-dir", str(tmp_path / "run"), *FEW]) == 5
    said = capsys.readouterr().err.splitlines()[-1]
    assert "GB by estimate" in said
    for key in ("training.gradient_accumulation_steps", "training.batch_size", "data.max_length", "training.rematerialize"):
        assert key in said


@pytest.mark.parametrize(("needed", "said"), [(0.0, False), (3e9, True)])
def test_only_what_was_estimated_is_said(needed: float, said: bool) -> None:
    line = str(too_large(Decision("float32", True, 1, 1, needed_bytes=needed)))
    assert ("about 3 GB by estimate" in line) is said and ("GB" in line) is said
    assert "lower training.batch_size or data.max_length" in line


def test_what_the_device_says_is_one_line() -> None:
    with pytest.raises(OutOfMemory, match=r"^OOM when allocating tensor with shape\[4,4096\]$"), engine.memory_is_short():
        exhausted()
