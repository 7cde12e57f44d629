"""Rows are those that the tokenizers library makes with the same post-processor, cut or whole."""

import json

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import processors

from lmkit.errors import CheckpointError
from lmkit.text.template import bare, longest_first, template_of, wrapped

WORDS = [f"w{i}" for i in range(20)]
VOCAB = {"<s>": 0, "</s>": 1, "<x>": 2, **{word: i + 3 for i, word in enumerate(WORDS)}}
IDS = [("<s>", 0), ("</s>", 1), ("<x>", 2)]
PROCESSORS = {
    "none": None,
    "bytes": processors.ByteLevel(trim_offsets=False),
    "bert": processors.BertProcessing(("</s>", 1), ("<s>", 0)),
    "roberta": processors.RobertaProcessing(("</s>", 1), ("<s>", 0)),
    "t5": processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=IDS),
    "llama": processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=IDS),
    "xlnet": processors.TemplateProcessing(single="$A </s> <x>:2", pair="$A </s> $B:1 </s>:1 <x>:2", special_tokens=IDS),
    "llama3": processors.Sequence(
        [processors.ByteLevel(), processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=IDS)]
    ),
}
texts = st.lists(st.sampled_from(WORDS), max_size=12)


@pytest.fixture(params=PROCESSORS, scope="module")
def backend(request):
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(VOCAB, unk_token="<x>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if PROCESSORS[request.param] is not None:
        made.post_processor = PROCESSORS[request.param]
    return made


@given(first=texts, second=st.none() | texts, room=st.none() | st.integers(5, 30))
def test_a_row_is_that_of_the_library(backend, first, second, room):
    if room is None:
        backend.no_truncation()
    else:
        backend.enable_truncation(room)
    theirs = backend.encode(" ".join(first), None if second is None else " ".join(second))
    a, b = (None if words is None else np.array([VOCAB[word] for word in words], np.int32) for words in (first, second))
    row = template_of(json.loads(backend.to_str())["post_processor"]).row(a, b, max_length=room)
    assert row.ids.tolist() == theirs.ids
    assert row.types.tolist() == theirs.type_ids
    for i, (begin, length) in enumerate(zip(row.begins, row.lengths, strict=True)):
        assert [at for at, which in enumerate(theirs.sequence_ids) if which == i] == list(range(begin, begin + length))


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 25))
def test_the_longer_is_cut_first_and_no_room_is_wasted(first, second, budget):
    a, b = longest_first(first, second, budget)
    assert 0 <= a <= first and 0 <= b <= second and a + b == min(first + second, budget)
    assert a == first or a >= b - 1
    assert b == second or b >= a - 1
    many = longest_first(np.array([first, 3]), np.array([second, 4]), budget)
    assert (many[0][0], many[1][0]) == (a, b)


def test_roles_that_are_missing_add_nothing():
    assert wrapped(-1, -1) == bare()
    assert wrapped(-1, 7).single.gaps == ((), ((7, 0),))


@pytest.mark.parametrize("order", ["BA", "A", "AA"])
def test_texts_in_another_order_are_refused(order):
    pieces = [{"Sequence": {"id": name, "type_id": 0}} for name in order]
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    with pytest.raises(CheckpointError, match=f"order {order}"):
        template_of({"type": "TemplateProcessing", "single": single, "pair": pieces, "special_tokens": {}})


def test_an_unknown_post_processor_is_named():
    with pytest.raises(CheckpointError, match="Novel"):
        template_of({"type": "Novel"})
