"""Sentences end where a reader says they end, and nothing of the text is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmkit.text.sentences import split_sentences

TEXTS = st.text(alphabet=st.sampled_from("aB1 .!?…。！？；\n\t\"'”’)(，中文“」é\u3000"), max_size=60)


@given(TEXTS, st.sampled_from(["line", "rules"]))
@settings(max_examples=200, deadline=None)
def test_the_sentences_joined_are_the_text_and_none_is_blank(text, rule):
    found = split_sentences(text, rule)
    assert "".join(found) == text
    assert all(found)
    assert not any(s.isspace() for s in found) or text.isspace()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He paid 3.14 dollars. Then left.", ["He paid 3.14 dollars.", "Then left."]),
        ("Mr. Smith met Dr. J. Watson. They spoke.", ["Mr. Smith met Dr. J. Watson.", "They spoke."]),
        ('"Go!" she said. "Now."', ['"Go!" she said.', '"Now."']),
        ("“Is it so?” He nodded.", ["“Is it so?”", "He nodded."]),
        ("Wait... what? Yes.", ["Wait... what?", "Yes."]),
        ("Fruit, e.g. apples, etc. are good. Eat.", ["Fruit, e.g. apples, etc. are good.", "Eat."]),
        ("秋灘一望平，遠遠見山城。落日啼烏桕！何處？", ["秋灘一望平，遠遠見山城。", "落日啼烏桕！", "何處？"]),
        ("他說：「走吧。」然後走了。", ["他說：「走吧。」", "然後走了。"]),
        ("一行；二行。", ["一行；", "二行。"]),
        ("Title\n\nIt began. It ended.", ["Title", "It began.", "It ended."]),
        ("a line that\nwraps here. Next", ["a line that\nwraps here.", "Next"]),
        ("यह एक है। वह दो है।", ["यह एक है।", "वह दो है।"]),
    ],
)
def test_terminators_end_sentences_and_abbreviations_do_not(text, sentences):
    assert [s.strip() for s in split_sentences(text, "rules")] == sentences


def test_a_line_is_a_sentence_when_the_rule_says_so():
    assert [s.strip() for s in split_sentences("one. still one\ntwo\n\n\nthree\n", "line")] == ["one. still one", "two", "three"]


def test_white_space_leads_the_later_sentence():
    assert split_sentences("One. Two.", "rules") == ["One.", " Two."]
