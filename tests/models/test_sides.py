"""The words of an encoder-decoder: what stands for both sides, and what a side has for itself."""

from typing import Any

import pytest

from lmkit.attention.spec import Attention
from lmkit.blocks.spec import LayerNorm, RmsNorm
from lmkit.models.spec import SHARED, EncoderDecoder, Side, Stack, stacks, with_dropout
from lmkit.positions.spec import NoPosition, Relative

SIZES = {"num_layers": 2, "hidden_size": 16, "num_heads": 2}


def spec(**words: Any) -> EncoderDecoder:
    return EncoderDecoder.model_validate(SIZES | words)


def test_a_side_may_have_every_key_of_a_stack_for_itself() -> None:
    assert set(Side.model_fields) == set(SHARED) == set(Stack.model_fields) - {"tie_embeddings"}
    assert all(field.default is None for field in Side.model_fields.values())


def test_what_a_side_leaves_out_is_the_model_s() -> None:
    found = spec(position="relative", encoder={"num_layers": 3}, decoder={"position": "none", "norm": "rms_norm"})
    encoder, decoder = stacks(found)
    assert (encoder.kind, decoder.kind) == ("encoder", "decoder")
    assert (encoder.num_layers, decoder.num_layers) == (3, 2)
    assert (encoder.position, decoder.position) == ((Relative(),), (NoPosition(),))
    assert (encoder.norm, decoder.norm) == (LayerNorm(), RmsNorm())


def test_a_branch_of_a_side_is_laid_on_the_model_s_key_by_key() -> None:
    found = spec(attention={"scale": 1.0, "window": 4}, decoder={"attention": {"window": "full"}})
    encoder, decoder = stacks(found)
    assert encoder.attention == Attention(scale=1.0, window=(4,))
    assert decoder.attention == Attention(scale=1.0)


@pytest.mark.parametrize(("tie", "inputs", "output"), [("all", 1, 1), ("inputs", 1, 0), ("output", 0, 1), ("none", 0, 0)])
def test_tables_are_shared_as_one_word_says(tie: str, inputs: int, output: int) -> None:
    found = spec(tie_embeddings=tie)
    assert (found.shares_inputs, found.side("decoder").tie_embeddings) == (bool(inputs), bool(output))


def test_one_dropout_reaches_every_corner() -> None:
    found = with_dropout(spec(dropout=0.1, decoder={"dropout": 0.2, "attention": {"dropout": 0.3}}), 0.5)
    for stack in stacks(found):
        assert (stack.dropout, stack.attention.dropout) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("words", "key", "what"),
    [
        ({"hidden_size": 15}, "hidden_size", "15 is not divisible"),
        ({"decoder": {"num_heads": 3}}, "hidden_size", "16 is not divisible by num_heads = 3"),
        ({"tie_embeddings": "none", "decoder": {"hidden_size": 15}}, "decoder.hidden_size", "15 is not divisible"),
        ({"encoder": {"attention": {"window": [1, 2, 3]}}}, "encoder.attention.window", "longer than num_layers = 2"),
        ({"num_layers": None, "encoder": {"num_layers": 2}}, "decoder", "missing num_layers"),
        ({"parallel": "own_norms"}, "parallel", "stand one after another"),
        ({"decoder": {"parallel": "own_norms"}}, "decoder.parallel", "stand one after another"),
        ({"encoder": {"hidden_size": 32}}, "tie_embeddings", "32 wide in the encoder and 16 in the decoder; write output or none"),
    ],
)
def test_a_side_that_cannot_be_is_told_where_it_is_written(words: dict[str, Any], key: str, what: str) -> None:
    found = list(spec(**words).problems())
    assert len(found) == 1
    assert found[0][0] == key
    assert what in found[0][1]


def test_sides_that_differ_are_fine_where_nothing_is_shared() -> None:
    assert list(spec(tie_embeddings="none", encoder={"hidden_size": 32, "num_heads": 4, "parallel": "own_norms"}).problems()) == []
