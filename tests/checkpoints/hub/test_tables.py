"""Weight tables: how a line is read, which tensor becomes which variable, and that going there and back changes nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.checkpoints.hub.known import FAMILIES
from lmkit.checkpoints.hub.plan import Plan, make_plan
from lmkit.checkpoints.hub.table import parse_table

TABLE = parse_table(r"""
prefix: model. |
ignore: rope\.buffer
keep: extra\.(weight|bias)
wte = embeddings.token emb alias:/head.weight
h.{i}.(q|k) = layers.{i}.(query|key) lin
h.{i}.qkv = layers.{i}.attention.{query,key,value} lin fuse:per_head
h.{i}.c_attn = layers.{i}.old.{query,key} conv1d
h.{i}.experts.{e}.(w1|w2) = layers.{i}.(up|down) lin
ln = norm norm
/bias = heads.lm.bias row
""")
SHAPES = {
    "embeddings.token.embedding": (5, 4),
    "layers.0.query.kernel": (4, 6),
    "layers.0.query.bias": (6,),
    "layers.0.key.kernel": (4, 2),
    "norm.scale": (4,),
    "norm.bias": (4,),
    "heads.lm.bias": (5,),
}


def plan(shapes: dict[str, tuple[int, ...]], keys: list[str] | None = None, heads: int = 2) -> Plan:
    return make_plan(TABLE, shapes, heads=heads, keys=keys)


def test_alternatives_stand_for_lines_in_the_same_order() -> None:
    rows = {row.source: row.targets for row in parse_table("(a|b).(x|y).{i} = (c|d).{i}.(u|v) lin").rows}
    assert rows == {"a.x.{i}": ("c.{i}.u",), "a.y.{i}": ("c.{i}.v",), "b.x.{i}": ("d.{i}.u",), "b.y.{i}": ("d.{i}.v",)}


@pytest.mark.parametrize("line", ["a = b", "a b lin", "a = b kernel", "(a|b) = c lin", "(a|b) = (c|d|e) lin"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"line|side"):
        parse_table(line)


def test_keys_are_spelled_as_the_first_prefix_and_name_say() -> None:
    assert {move.key: move.shape for move in plan(SHAPES).moves} == {
        "model.wte.weight": (5, 4),
        "model.h.0.q.weight": (6, 4),
        "model.h.0.q.bias": (6,),
        "model.h.0.k.weight": (2, 4),
        "model.ln.weight": (4,),
        "model.ln.bias": (4,),
        "bias": (1, 5),
    }


def test_a_file_decides_how_its_own_keys_are_spelled() -> None:
    keys = ["wte.weight", "h.0.q.weight", "h.0.q.bias", "h.0.k.weight", "ln.gamma", "ln.beta", "bias", "head.weight"]
    found = plan(SHAPES, [*keys, "rope.buffer", "extra.weight"])
    assert sorted(move.key for move in found.moves) == sorted(keys[:-1])
    assert (found.aliases, found.kept, found.ignored) == ({"head.weight": "wte.weight"}, ("extra.weight",), ("rope.buffer",))
    assert not (found.missing or found.unknown or found.homeless)


def test_what_is_missing_too_much_or_without_a_line_is_named() -> None:
    found = plan({**SHAPES, "layers.0.gate.kernel": (4, 4)}, ["model.wte.weight", "model.h.0.q.weight", "model.other", "bias"])
    assert found.homeless == ("layers.0.gate.kernel",)
    assert found.unknown == ("model.other",)
    assert set(found.missing) == {"model.h.0.q.bias", "model.h.0.k.weight", "model.ln.weight", "model.ln.bias"}


@given(heads=st.integers(1, 4), width=st.integers(1, 3), key_width=st.integers(1, 3), size=st.integers(1, 5), seed=st.integers(0, 9))
def test_there_and_back_again_is_the_same(heads: int, width: int, key_width: int, size: int, seed: int) -> None:
    shapes = {f"layers.1.attention.{name}.kernel": (size, heads * width) for name in ("query", "key", "value")}
    shapes |= {f"layers.1.attention.{name}.bias": (heads * width,) for name in ("query", "key", "value")}
    shapes |= {"layers.1.old.query.kernel": (size, heads * width), "layers.1.old.key.kernel": (size, key_width)}
    shapes |= {"layers.1.query.kernel": (size, width), "heads.lm.bias": (size,)}
    draw = np.random.default_rng(seed)
    values = {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    for move in plan(shapes, heads=heads).moves:
        foreign = move.foreign([values[name] for name in move.names])
        assert foreign.shape == move.shape
        for name, again in zip(move.names, move.ours(foreign), strict=True):
            np.testing.assert_array_equal(again, values[name])


def test_heads_stand_behind_one_another_where_tensors_are_fused_by_heads() -> None:
    shapes = {f"layers.0.attention.{name}.bias": (4,) for name in ("query", "key", "value")}
    (move,) = plan(shapes, heads=2).moves
    fused = move.foreign([np.array([i, i, i + 10, i + 10]) for i in range(3)])
    assert fused.tolist() == [0, 0, 1, 1, 2, 2, 10, 10, 11, 11, 12, 12]


def test_experts_are_stacked_and_taken_apart() -> None:
    moves = plan({"layers.0.up.kernel": (3, 2, 4), "layers.0.down.kernel": (3, 4, 2)}).moves
    assert [(move.key, move.index, move.shape) for move in moves[:3]] == [(f"model.h.0.experts.{e}.w1.weight", e, (4, 2)) for e in range(3)]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_every_table_is_one(family) -> None:
    flat = {"num_layers": 2, "feed_forward.kind": "dense", "kind": "decoder"}
    table = family.table(flat)
    assert table.rows
    assert len({(row.source, row.targets, row.kind) for row in table.rows}) == len(table.rows)
