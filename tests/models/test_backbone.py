"""Promises of the body: what a position may depend on, and what must change nothing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from lmkit.attention.spec import Attention
from lmkit.blocks.spec import Dense, Gated, LayerNorm, RmsNorm
from lmkit.models.backbone import Backbone
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.spec import Alibi, Learned, NoPosition, Rotary, Sinusoidal

RANDOM = np.random.default_rng(0)
POSITIONS = {"none": NoPosition(), "learned": Learned(), "sinusoidal": Sinusoidal(), "rotary": Rotary(), "alibi": Alibi()}
BUILT: dict[str, Backbone] = {}


def body(cls: type = Decoder, **changes: Any) -> Backbone:
    """A small body with large weights, so that every dependence shows; built once for each set of words."""
    words = {"num_layers": 2, "hidden_size": 16, "num_heads": 4, "num_kv_heads": 2, "position": (Rotary(),), "norm": RmsNorm()} | changes
    key = f"{cls.__name__} {words}"
    if key not in BUILT:
        backbone = build_backbone(cls(**words), vocab_size=30, max_length=24)
        initialize(backbone, 1)
        for weight in backbone.weights:
            if "norm" not in weight.path:
                weight.assign(weight * 20)
        BUILT[key] = backbone
    return BUILT[key]


def tokens(rows: int = 2, length: int = 10) -> np.ndarray:
    return RANDOM.integers(0, 30, (rows, length)).astype(np.int32)


def hidden(backbone: Backbone, ids: np.ndarray, **keywords: Any) -> np.ndarray:
    return np.asarray(backbone(ids, **keywords))


@pytest.mark.parametrize("position", POSITIONS)
def test_changing_a_token_leaves_causal_outputs_before_it_bitwise_unchanged(position: str) -> None:
    backbone, ids = body(position=(POSITIONS[position],)), tokens()
    before = hidden(backbone, ids)
    for j in (0, 4, 9):
        changed = ids.copy()
        changed[:, j] = (changed[:, j] + 1) % 30
        after = hidden(backbone, changed)
        np.testing.assert_array_equal(after[:, :j], before[:, :j])
        assert np.all(np.any(after[:, j:] != before[:, j:], axis=-1)) or position == "none"


@given(window=st.integers(1, 6), causal=st.booleans())
@settings(max_examples=8, deadline=None)
def test_a_window_sees_exactly_its_last_tokens(window: int, causal: bool) -> None:
    backbone = body(num_layers=1, attention=Attention(window=(window,)), position=(Learned(),))
    ids, j = tokens(rows=1), 4
    changed = ids.copy()
    changed[:, j] = (changed[:, j] + 1) % 30
    differs = np.any(hidden(backbone, ids, causal=causal) != hidden(backbone, changed, causal=causal), axis=-1)[0]
    reach = range(j, j + window) if causal else range(j - window, j + window + 1)
    assert list(np.flatnonzero(differs)) == [i for i in range(10) if i in reach]


def test_a_pattern_of_windows_is_repeated_and_cut() -> None:
    backbone = body(num_layers=5, attention=Attention(window=(3, "full")))
    assert [block.attention.window for block in backbone.blocks] == [3, None, 3, None, 3]


@pytest.mark.parametrize("cls", [Encoder, Decoder])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_no_real_output(cls: type, position: str, side: str) -> None:
    backbone, ids = body(cls, position=(POSITIONS[position],)), tokens(length=6)
    pad = np.zeros((2, 3), np.int32)
    joined = [pad, ids] if side == "left" else [ids, pad]
    real = slice(3, 9) if side == "left" else slice(0, 6)
    segments, positions = np.zeros((2, 9), np.int32), np.zeros((2, 9), np.int32)
    segments[:, real], positions[:, real] = 1, np.arange(6)
    padded = hidden(backbone, np.concatenate(joined, 1), segments=segments, positions=positions)
    np.testing.assert_allclose(padded[:, real], hidden(backbone, ids), atol=2e-5)
    assert np.all(np.isfinite(padded))


@pytest.mark.parametrize("cls", [Encoder, Decoder])
@pytest.mark.parametrize("position", POSITIONS)
def test_two_packed_documents_are_the_two_alone(cls: type, position: str) -> None:
    backbone, a, b = body(cls, position=(POSITIONS[position],), attention=Attention(window=(3, "full"))), tokens(length=5), tokens(length=4)
    segments = np.repeat([[1, 2]], 2, 0).repeat([5, 4], axis=1).astype(np.int32)
    positions = np.tile(np.concatenate([np.arange(5), np.arange(4)]), (2, 1)).astype(np.int32)
    packed = hidden(backbone, np.concatenate([a, b], 1), segments=segments, positions=positions)
    np.testing.assert_allclose(packed[:, :5], hidden(backbone, a), atol=2e-5)
    np.testing.assert_allclose(packed[:, 5:], hidden(backbone, b), atol=2e-5)


def test_without_positions_an_encoder_is_permutation_equivariant() -> None:
    backbone, ids = body(Encoder, position=(NoPosition(),)), tokens()
    order = RANDOM.permutation(10)
    np.testing.assert_allclose(hidden(backbone, ids[:, order]), hidden(backbone, ids)[:, order], atol=2e-5)


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_relative_positions_know_only_distances(position: str) -> None:
    backbone, ids = body(position=(POSITIONS[position],)), tokens()
    positions = np.tile(np.arange(10, dtype=np.int32), (2, 1))
    np.testing.assert_allclose(hidden(backbone, ids, positions=positions + 7), hidden(backbone, ids, positions=positions), atol=5e-4)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    backbone, ids, keys = body(dropout=0.2), tokens(rows=4), np.arange(4, dtype=np.uint32)
    for row_key in (None, keys):
        together = hidden(backbone, ids, row_key=row_key)
        alone = hidden(backbone, ids[2:3], row_key=None if row_key is None else keys[2:3])
        np.testing.assert_allclose(together[2:3], alone, atol=2e-5)


@pytest.mark.parametrize("position", POSITIONS)
def test_decoding_with_a_cache_is_the_full_forward_pass(position: str) -> None:
    backbone, ids = body(position=(POSITIONS[position],), attention=Attention(window=(3, "full"))), tokens()
    cache, parts, start = backbone.empty_cache(2, 12), [], 0
    for size in (4, 1, 1, 3, 1):
        part, cache = backbone(ids[:, start : start + size], cache=cache, cache_index=start)
        parts.append(np.asarray(part))
        start += size
    np.testing.assert_allclose(np.concatenate(parts, 1), hidden(backbone, ids), atol=2e-5)


@pytest.mark.parametrize("position", POSITIONS)
def test_left_padded_prompts_share_a_cache(position: str) -> None:
    backbone, ids = body(position=(POSITIONS[position],)), tokens()
    lengths = np.array([6, 4])
    prompt, slots = np.zeros((2, 6), np.int32), np.zeros((2, 12), np.int32)
    positions = np.maximum(np.arange(12) - (6 - lengths)[:, None], 0).astype(np.int32)
    for row, length in enumerate(lengths):
        prompt[row, 6 - length :] = ids[row, :length]
    slots[:] = np.arange(12) >= (6 - lengths)[:, None]
    out, cache = backbone(prompt, positions=positions[:, :6], cache=backbone.empty_cache(2, 12), cache_index=0, cache_segments=slots)
    new = np.stack([ids[row, length : length + 1] for row, length in enumerate(lengths)])
    step, _ = backbone(new, positions=positions[:, 6:7], cache=cache, cache_index=6, cache_segments=slots)
    for row, length in enumerate(lengths):
        full = hidden(backbone, ids[row : row + 1, : length + 1])[0]
        np.testing.assert_allclose(np.asarray(out)[row, 6 - length :], full[:-1], atol=2e-5)
        np.testing.assert_allclose(np.asarray(step)[row, 0], full[-1], atol=2e-5)


def test_a_prefix_is_seen_from_both_sides() -> None:
    backbone, ids = body(num_layers=1, position=(Learned(),)), tokens(rows=1)
    changed = ids.copy()
    changed[:, 2] = (changed[:, 2] + 1) % 30
    prefix = np.array([4], np.int32)
    differs = np.any(hidden(backbone, ids, prefix_length=prefix) != hidden(backbone, changed, prefix_length=prefix), axis=-1)[0]
    assert np.all(differs)


def test_vectors_stand_in_for_tokens() -> None:
    backbone, ids = body(), tokens()
    vectors = np.asarray(ops.take(backbone.token_embedding, ids, axis=0))
    np.testing.assert_allclose(np.asarray(backbone(None, vectors=vectors)), hidden(backbone, ids), atol=1e-6)


def test_what_is_collected_is_named_and_sums_to_one() -> None:
    seen: dict[str, Any] = {}
    hidden(body(Encoder, norm=LayerNorm(placement="post")), tokens(), collect=seen.__setitem__)
    assert list(seen) == ["embeddings", "layers.0.attention.weights", "layers.0", "layers.1.attention.weights", "layers.1"]
    np.testing.assert_allclose(np.sum(np.asarray(seen["layers.1.attention.weights"]), -1), 1, atol=1e-5)


@pytest.mark.parametrize("feed_forward", [Dense(activation="gelu_tanh"), Gated()])
def test_placement_decides_where_norms_stand(feed_forward: Any) -> None:
    post = body(Encoder, norm=LayerNorm(placement="post"), feed_forward=feed_forward)
    assert post.norm is None
    assert post.embeddings.norm is not None
    pre = body(Encoder, norm=LayerNorm(placement="pre"), feed_forward=feed_forward)
    assert pre.norm is not None
    assert pre.embeddings.norm is None


def test_layers_share_weights_as_their_groups_say() -> None:
    spec = Encoder(num_layers=8, hidden_size=16, num_heads=2, layer_groups=2, blocks_per_group=2)
    assert [spec.weights_of(i) for i in range(8)] == [0, 1, 0, 1, 2, 3, 2, 3]
    spec = Encoder(num_layers=5, hidden_size=16, num_heads=2, layer_groups=3)
    assert [spec.weights_of(i) for i in range(5)] == [0, 0, 1, 1, 2]
    backbone = body(Encoder, num_layers=4, layer_groups=1)
    assert (len(backbone.blocks), backbone.order) == (1, [0, 0, 0, 0])


def test_a_shared_block_drops_other_elements_each_time() -> None:
    backbone, ids = body(num_layers=2, layer_groups=1, dropout=0.5), tokens(rows=1)
    seen: dict[str, Any] = {}
    hidden(backbone, ids, row_key=np.array([7], np.uint32), collect=seen.__setitem__)
    branches = [np.asarray(seen[b]) - np.asarray(seen[a]) for a, b in (("embeddings", "layers.0"), ("layers.0", "layers.1"))]
    assert np.any((branches[0] == 0) != (branches[1] == 0))


def test_each_layer_turns_as_the_pattern_says() -> None:
    turned = Rotary(base=100.0)
    backbone = body(num_layers=4, attention=Attention(rotary=("default", "none", turned)))
    assert (backbone.turns, [rotary.base for rotary in backbone.rotaries]) == ([0, -1, 1, 0], [10000.0, 100.0])


def test_vectors_are_scaled_and_projected_as_tokens_are() -> None:
    for words in ({"embedding_scale": "sqrt_hidden"}, {"embedding_size": 6}, {"embedding_size": 6, "embedding_norm": True}):
        backbone, ids = body(**words), tokens()
        vectors = np.asarray(ops.take(backbone.token_embedding, ids, axis=0))
        assert vectors.shape[-1] == words.get("embedding_size", 16)
        np.testing.assert_allclose(np.asarray(backbone(None, vectors=vectors)), hidden(backbone, ids), atol=1e-5)
