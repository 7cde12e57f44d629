"""Values in config.json that no model can have: reading says which key holds them."""

from typing import Any

import pytest

from lmkit.checkpoints.hub.known import FAMILIES
from lmkit.errors import CheckpointError

SIZES = {"vocab_size": 280, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40}
SIZES |= {"max_position_embeddings": 64}


def said_of(model_type: str, changes: dict[str, Any]) -> str:
    """What reading says of a config with these changes."""
    family = next(one for one in FAMILIES if one.model_type == model_type)
    with pytest.raises(CheckpointError) as error:
        family.read(SIZES | changes)
    return error.value.problems[0].what


@pytest.mark.parametrize("model_type", ["modernbert", "qwen2", "gemma2", "gemma3_text"])
@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        (["foo", "full_attention"], "foo is not supported"),
        (["full_attention"] * 3, "3 entries for 2 layers"),
        ([], "0 entries for 2 layers"),
        ("full_attention", "full_attention is no list"),
        (5, "5 is no list"),
    ],
)
def test_kinds_of_layers_are_a_known_one_for_each_layer(model_type: str, kinds: Any, says: str) -> None:
    assert said_of(model_type, {"layer_types": kinds}) == f"layer_types: {says}"
