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
        ("full_attention", 'expected a list, got "full_attention"'),
        (5, "expected a list, got 5"),
    ],
)
def test_kinds_of_layers_are_a_known_one_for_each_layer(model_type: str, kinds: Any, says: str) -> None:
    assert said_of(model_type, {"layer_types": kinds}) == f"layer_types: {says}"


OF_A_KIND: list[tuple[str, dict[str, Any], str]] = [
    ("bert", {"hidden_dropout_prob": "a"}, 'hidden_dropout_prob: expected a number, got "a"'),
    ("bert", {"num_hidden_layers": [2]}, "num_hidden_layers: expected a whole number of 1 or more, got [2]"),
    ("bert", {"hidden_size": "large"}, 'hidden_size: expected a whole number of 1 or more, got "large"'),
    ("bert", {"hidden_act": ["gelu"]}, "hidden_act: ['gelu'] is no activation"),
    ("albert", {"num_hidden_groups": "a"}, 'num_hidden_groups: expected a whole number, got "a"'),
    ("albert", {"num_hidden_groups": 1.5}, "num_hidden_groups: expected a whole number, got 1.5"),
    ("deberta-v2", {"conv_kernel_size": "a"}, 'conv_kernel_size: expected a whole number, got "a"'),
    ("deberta-v2", {"position_buckets": "a"}, 'position_buckets: expected a whole number, got "a"'),
    ("deberta-v2", {"max_relative_positions": True}, "max_relative_positions: expected a whole number, got true"),
    ("deberta-v2", {"pos_att_type": 3}, "pos_att_type: expected a list, got 3"),
    ("modernbert", {"global_attn_every_n_layers": "a"}, 'global_attn_every_n_layers: expected a whole number of 1 or more, got "a"'),
    ("modernbert", {"global_attn_every_n_layers": 0}, "global_attn_every_n_layers: expected a whole number of 1 or more, got 0"),
    ("modernbert", {"local_attention": "a"}, 'local_attention: expected a whole number of 2 or more, got "a"'),
    ("modernbert", {"local_rope_theta": "a"}, 'local_rope_theta: expected a number, got "a"'),
    ("llama", {"rope_theta": "x"}, 'rope_theta: expected a number, got "x"'),
    ("llama", {"rope_theta": float("inf")}, "rope_theta: expected a number, got Infinity"),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": "a"}}, 'factor: expected a number, got "a"'),
    ("llama", {"rope_scaling": {"rope_type": "longrope", "short_factor": 1, "long_factor": 1}}, "short_factor: expected a list, got 1"),
    ("mistral", {"sliding_window": "a"}, 'sliding_window: expected a whole number of 1 or more, got "a"'),
    ("qwen2", {"max_window_layers": "a"}, 'max_window_layers: expected a whole number, got "a"'),
    ("smollm3", {"no_rope_layers": 3}, "no_rope_layers: expected a list, got 3"),
]

LACKING = [
    ({"rope_type": "yarn"}, "yarn needs factor"),
    ({"type": "linear"}, "linear needs factor"),
    ({"type": "dynamic", "factor": None}, "dynamic needs factor"),
    ({"rope_type": "llama3", "factor": 8.0, "high_freq_factor": 4.0}, "llama3 needs low_freq_factor"),
    ({"rope_type": "longrope", "short_factor": [1.0] * 4}, "longrope needs long_factor"),
]


@pytest.mark.parametrize(("scaling", "says"), LACKING)
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_a_scaling_is_not_guessed_where_it_is_silent(key: str, scaling: dict[str, Any], says: str) -> None:
    assert said_of("llama", {key: scaling}) == f"rope_scaling: {says}"


def test_a_factor_of_yarn_that_is_null_is_that_of_the_lengths() -> None:
    family = next(one for one in FAMILIES if one.model_type == "llama")
    scaling = {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 16}
    assert family.read(SIZES | {"rope_scaling": scaling})["position.rotation.scaling.factor"] == 4.0


@pytest.mark.parametrize("given", [{"rope_type": "linear", "factor": 2.0}, {"rope_theta": 7.0}, [1]])
def test_rotations_of_modernbert_that_are_not_by_kind_of_layer_are_refused(given: Any) -> None:
    assert said_of("modernbert", {"rope_parameters": given}).startswith("rope_parameters: ")


@pytest.mark.parametrize(("model_type", "changes", "says"), OF_A_KIND, ids=[f"{name}-{next(iter(one))}" for name, one, _ in OF_A_KIND])
def test_a_value_of_another_kind_is_named_by_its_key(model_type: str, changes: dict[str, Any], says: str) -> None:
    others = {"relative_attention": True, "pos_att_type": ["c2p"]}
    assert said_of(model_type, others | changes).startswith(says)
