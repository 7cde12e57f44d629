"""T5: whether the output is scaled is said by two keys, the older of which says two things."""

import pytest

from lmkit.checkpoints.hub.families.t5 import FAMILY
from lmkit.errors import CheckpointError

CONFIG = {"d_model": 64, "num_layers": 2, "num_heads": 4, "d_kv": 16, "d_ff": 128}


@pytest.mark.parametrize(
    ("said", "scale"),
    [
        ({}, 0.125),
        ({"tie_word_embeddings": True}, 0.125),
        ({"tie_word_embeddings": False}, 1.0),
        ({"tie_word_embeddings": True, "scale_decoder_outputs": False}, 1.0),  # transformers 5 of a Flan-T5
        ({"tie_word_embeddings": False, "scale_decoder_outputs": True}, 0.125),
    ],
)
def test_the_newer_key_decides_where_it_is(said: dict[str, bool], scale: float) -> None:
    words = FAMILY.read({**CONFIG, **said})
    assert words["output.scale"] == scale
    assert FAMILY.read(FAMILY.write(words, 512))["output.scale"] == scale


def test_a_negative_width_is_no_complex_scale() -> None:
    with pytest.raises(CheckpointError, match="d_model: expected a whole number of 1 or more, got -64"):
        FAMILY.read({**CONFIG, "d_model": -64})
