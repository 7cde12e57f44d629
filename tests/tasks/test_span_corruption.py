"""Spans are hidden as T5 hides them, every token is read or written exactly once, and a row depends on nothing but itself."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmkit.tasks import prefix_lm
from lmkit.tasks.rows import TokenRows
from lmkit.tasks.span_corruption import counts, features, sentinel_names
from lmkit.text.template import Frame, Template, wrapped

PAD, EOS, START = 0, 1, 0
T5 = Template(Frame(((), ((EOS, 0),)), (0,)), Frame(((), (), ()), (0, 0))).behind(START)
BERT = wrapped(2, 3).behind(2)
FIRST = 1000  # the first id of texts; sentinels are 100, 99, ...


def raw(lengths: list[int], width: int, keys: int = 7) -> TokenRows:
    """Rows of texts that start at cell 0, each token another one."""
    count = len(lengths)
    text = np.arange(width) < np.array(lengths)[:, None]
    tokens = np.where(text, FIRST + np.arange(count * width).reshape(count, width), PAD).astype(np.int32)
    shape = {"segments": text.astype(np.int32), "positions": text.astype(np.int32), "token_types": np.zeros_like(tokens)}
    key = np.arange(count, dtype=np.uint32) * 7919 + keys
    following = np.roll(tokens, -1, axis=1)
    return TokenRows(
        tokens, **shape, row_key=key, real=np.ones(count, np.float32), mark=np.zeros(count, int), text=text, first=text, following=following
    )


def corrupt(rows: TokenRows, template: Template = T5, rate: float = 0.15, span: float = 3.0) -> dict[str, np.ndarray]:
    sentinels = np.arange(100, 0, -1, dtype=np.int32)
    return features(rows, sentinels=sentinels, mask_rate=rate, mean_span=span, template=template, start=START, pad=PAD)


def restored(read: np.ndarray, wrote: np.ndarray) -> list[int]:
    """The text: every sentinel of what is read replaced by what stands behind it in what is written."""
    spans: dict[int, list[int]] = {}
    for token in wrote[wrote >= 10]:
        spans.setdefault(token, []) if token < FIRST else spans[list(spans)[-1]].append(token)
    return [token for index in read[read >= 10] for token in (spans.pop(index) if index < FIRST else [index])] + [
        t for s in spans.values() for t in s
    ]


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    rate=st.sampled_from([0.15, 0.3, 0.5]),
    span=st.sampled_from([1.0, 3.0, 8.0]),
)
@pytest.mark.parametrize("template", [T5, BERT])
def test_what_is_read_and_what_is_written_make_the_text_together(template: Template, lengths: list[int], rate: float, span: float) -> None:
    rows = raw(lengths, 64)
    made = corrupt(rows, template, rate, span)
    for i, length in enumerate(lengths):
        read, wrote = made["tokens"][i][made["segments"][i] > 0], made["labels"][i][made["weights"][i] > 0]
        hidden, spans = (int(n) for n in counts(np.array(length), rate, span))
        if length > 1:
            assert restored(read, wrote) == rows.tokens[i, :length].tolist()
            assert len(read) == length - hidden + spans + template.single.extra
            assert len(wrote) == hidden + spans + template.written.extra
            assert wrote[len(template.written.gaps[0])] == read[(read < FIRST) & (read >= 10)][0] == 100
        else:
            assert not len(wrote)


def test_the_widths_are_those_of_t5() -> None:
    """t5.data.preprocessors.random_spans_helper: 568 tokens make 512 for the encoder and 114 for the decoder, both with their end."""
    made = corrupt(raw([568], 569))
    assert made["tokens"].shape == (1, 512) and made["segments"].all()
    assert made["labels"].shape == (1, 114) and made["weights"].all()
    assert len(sentinel_names(568, 0.15, 3.0)) == 28


def test_a_row_is_corrupted_the_same_whatever_stands_beside_it() -> None:
    rows = raw([60, 5, 33, 1, 64], 66)
    whole = corrupt(rows)
    part = TokenRows(**{name: array[2:4] for name, array in vars(rows).items() if isinstance(array, np.ndarray)})
    for name, array in corrupt(part).items():
        np.testing.assert_array_equal(array, whole[name][2:4])
    assert not np.array_equal(whole["tokens"], corrupt(raw([60, 5, 33, 1, 64], 66, keys=8))["tokens"])


def test_all_lengths_of_spans_and_all_places_occur() -> None:
    made = corrupt(raw([40] * 4000, 41))
    read = made["tokens"]
    places = np.bincount(np.nonzero((read < FIRST) & (read >= 10))[1], minlength=36)
    assert (places[1:34] > 80).all() and places[35] == 4000, "the first of two spans is anywhere, the last ends the text"
    assert places[0] == places[34] == 0, "before every hidden span something is seen"
    second = np.argmax(made["labels"] == 99, axis=1)
    assert (np.bincount(second, minlength=7)[2:7] > 600).all(), "the first span has 1 to 5 of the 6 hidden tokens"


def prefixed(make: Any, lengths: list[int]) -> tuple[TokenRows, dict[str, np.ndarray]]:
    rows = raw(lengths, 34)
    return rows, make(rows)


def test_a_prefix_and_its_rest_are_the_text() -> None:
    lengths = [1, 2, 3, 9, 30, 32, 32, 32]
    rows, made = prefixed(partial(prefix_lm.two_sides, template=T5, start=START, pad=PAD), lengths)
    for i, length in enumerate(lengths):
        read, wrote = made["tokens"][i][made["segments"][i] > 0], made["labels"][i][made["weights"][i] > 0]
        if length > 1:
            assert [*read[:-1], *wrote[:-1]] == rows.tokens[i, :length].tolist()
            assert len(read) > 1 and len(wrote) > 1 and read[-1] == wrote[-1] == EOS
        else:
            assert not len(read) and not len(wrote)


def test_one_stack_learns_what_comes_after_the_prefix() -> None:
    rows, made = prefixed(prefix_lm.one_stack, [1, 2, 20, 32])
    assert made["prefix_length"][0] == 0 and made["prefix_length"][1] == 1
    for length, prefix, weights in zip([2, 20, 32], made["prefix_length"][1:], made["weights"][1:], strict=True):
        assert np.flatnonzero(weights).tolist() == list(range(prefix - 1, length))
    assert not made["weights"][0].any() and made["labels"] is rows.following
    many = prefix_lm.prefixes(raw([32] * 2000, 34))
    assert np.unique(many).tolist() == list(range(1, 32))
