"""Patterns of parts: what is wrong with one is told before there are names to hold it against."""

import pytest

from lmkit.models.names import unknown_part


@pytest.mark.parametrize("pattern", ["embeddings", "layers.3", "layers.0-3", "encoder.layers.2.attention", "heads.stars", "decoder"])
def test_a_part_that_models_have_is_known(pattern: str) -> None:
    assert unknown_part(pattern, 4) == ""


def test_a_layer_above_the_top_is_told_with_the_layers_there_are() -> None:
    assert unknown_part("layers.4", 4) == "layers.4 is no part of this model, whose layers are layers.0-3"
    assert unknown_part("layers.2-9", 4)
    assert unknown_part("layers.4", None) == ""


def test_a_typing_error_is_told_with_what_was_meant() -> None:
    assert unknown_part("layerz.0", None) == "layerz.0 is no part of a model; did you mean layers.0?"
    assert "begins with embeddings" in unknown_part("classifier", 4)
