"""First weights, and names."""

from statistics import NormalDist

import numpy as np
import pytest

from lmkit.layers.weights import canonical
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize, normal
from lmkit.models.names import depths, matches
from lmkit.models.spec import Decoder

NAMES = [
    "embeddings.token.embedding",
    "encoder.layers.0.attention.query.kernel",
    "encoder.layers.3.feed_forward.up.bias",
    "encoder.layers.30.feed_forward.up.bias",
    "encoder.norm.scale",
    "heads.mlm.bias",
]


def test_values_are_normal_and_a_function_of_seed_and_name() -> None:
    values = normal(7, "a.kernel", 100_001)
    shares = np.linspace(0.01, 0.99, 99)
    np.testing.assert_allclose(np.quantile(values, shares), [NormalDist().inv_cdf(share) for share in shares], atol=0.03)
    assert abs(values.max()) > 4
    np.testing.assert_array_equal(values, normal(7, "a.kernel", 100_001))
    assert not np.any(values[:100] == normal(8, "a.kernel", 100))
    assert not np.any(values[:100] == normal(7, "b.kernel", 100))


def test_the_first_values_are_frozen_for_every_machine() -> None:
    np.testing.assert_allclose(normal(0, "embeddings.token.embedding", 4), [0.26319489, 0.13818768, -0.09351984, 0.82612807], rtol=1e-6)


def test_residual_outputs_of_pre_norm_stacks_start_smaller() -> None:
    spec = Decoder(num_layers=8, hidden_size=64, num_heads=4)
    backbone = build_backbone(spec, vocab_size=300, max_length=8)
    initialize(backbone, 0)
    by_name = {canonical(weight): np.asarray(weight) for weight in backbone.weights}
    assert by_name["decoder.layers.2.attention.query.kernel"].std() == pytest.approx(0.02, rel=0.1)
    assert by_name["decoder.layers.2.attention.output.kernel"].std() == pytest.approx(0.02 / 4, rel=0.1)
    assert by_name["decoder.layers.2.feed_forward.down.kernel"].std() == pytest.approx(0.02 / 4, rel=0.1)
    assert np.all(by_name["decoder.layers.2.attention.query.bias"] == 0)
    assert np.all(by_name["decoder.layers.2.attention_norm.scale"] == 1)


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("embeddings", [0]),
        ("layers.3", [2]),
        ("encoder.layers.3", [2]),
        ("decoder.layers.3", []),
        ("layers.0-3", [1, 2]),
        ("encoder.layers.0-30", [1, 2, 3]),
        ("decoder.layers.0-30", []),
        ("encoder", [1, 2, 3, 4]),
        ("encoder.norm", [4]),
        ("heads.mlm", [5]),
        ("heads.ml", []),
        ("layers.3.feed_forward.up", [2]),
    ],
)
def test_a_pattern_means_whole_parts_of_a_name(pattern: str, meant: list[int]) -> None:
    assert [i for i, name in enumerate(NAMES) if matches(pattern, name)] == meant


def test_depth_grows_from_embeddings_to_heads() -> None:
    found, top = depths(NAMES)
    assert ([found[name] for name in NAMES], top) == ([0, 1, 4, 31, 32, 32], 32)


def test_a_decoder_stands_on_top_of_the_encoder_beside_it() -> None:
    encoder = [
        "encoder.embeddings.norm.scale",
        "encoder.relative.embedding",
        "encoder.convolution.kernel",
        "encoder.layers.1.attention.key.kernel",
    ]
    decoder = ["decoder.relative.embedding", "decoder.layers.0.cross_attention.key.kernel", "decoder.layers.1.feed_forward_norm.scale"]
    names = ["embeddings.token.embedding", *encoder, "encoder.norm.scale", *decoder, "decoder.norm.scale", "heads.answer.bias"]
    found, top = depths(names)
    assert ([found[name] for name in names], top) == ([0, 0, 0, 1, 2, 3, 0, 3, 4, 5, 5], 5)
