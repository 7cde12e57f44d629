"""Before the first step the longest of a run's first batches is tried, and nothing is changed where it fits."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from sessions import session

from lmkit.errors import OutOfMemory
from lmkit.run.fit import TRIED, fitted
from lmkit.training.step import Step


def test_the_longest_batch_is_tried_and_parts_are_halved_as_long_as_it_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    one = session(tmp_path / "run", said, "training.gradient_accumulation_steps=auto")
    sizes: list[int] = []
    room = [1]

    def tried(self: Step, batch: dict[str, Any]) -> None:
        sizes.append(batch["tokens"].size)
        if self._micro_batches < room[0]:
            raise OutOfMemory("none")

    monkeypatch.setattr(Step, "try_memory", tried)
    steps = one.plan.steps

    def fit() -> Any:
        return fitted(one.decision, one._step, one.spec, one.material.batches, steps, one.world)[0]

    assert fit() == one.decision and not any("trying" in line for line in said)
    assert sizes == [max(one.material.batches.train(i)["tokens"].size for i in range(min(steps, TRIED)))]
    room[0] = 2
    assert fit().micro_batches == 2 and said[-1].endswith("has not enough memory; trying 2")
    room[0] = 10**6
    with pytest.raises(OutOfMemory, match=r"lower training\.batch_size"):
        fit()
