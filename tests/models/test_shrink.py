"""A smaller stack for a generator: as many heads as fit, where its other words allow that number."""

import pytest

from lmkit.models.build import build_backbone
from lmkit.models.shrink import shrunk
from lmkit.models.spec import Encoder


@pytest.mark.parametrize(
    ("hidden", "heads", "share", "position", "made"),
    [
        (768, 12, 1 / 3, "rotary", (256, 4, 64)),
        (72, 8, 0.25, "learned", (18, 2, 9)),
        (72, 8, 0.25, "rotary", (18, 1, 18)),
        (120, 8, 0.5, "rotary", (60, 3, 20)),
        (60, 6, 0.25, "learned", (15, 1, 15)),
    ],
)
def test_heads_divide_the_width_into_what_can_be_built(
    hidden: int, heads: int, share: float, position: str, made: tuple[int, int, int]
) -> None:
    spec = Encoder.model_validate({"num_layers": 1, "hidden_size": hidden, "num_heads": heads, "position": position})
    small = shrunk(spec, share, num_layers=None, max_length=8)
    assert (small.hidden_size, small.num_heads, small.head_dim) == made and not any(small.problems())
    build_backbone(small, vocab_size=9, max_length=8)
