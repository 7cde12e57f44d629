"""Written texts are scored by sacrebleu and rouge-score: figures and signatures are theirs."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer
from sacrebleu.metrics import BLEU, CHRF, TER

from lmkit.scores.names import BLEU_TOKENIZERS, TEXTS
from lmkit.scores.texts import Words, generation

WORDS = ["the", "dogs", "running", "over", "hills", "Two", "birds", "sing", ",", ".", "it's", "Mr.", "3.5", "Häuser", "看见", "了鸟"]
ROUGES = [name for name in TEXTS if name.startswith("rouge")]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)
corpora = st.lists(st.tuples(texts, texts, texts), min_size=1, max_size=6)
METRICS: dict[str, Callable[[], Any]] = {"bleu": BLEU, "chrf": CHRF, "chrf++": lambda: CHRF(word_order=2), "ter": TER}


@given(corpora)
@settings(max_examples=25, deadline=None)
def test_one_reference_a_text_gives_exactly_the_figures_of_sacrebleu(rows: list[tuple[str, str, str]]) -> None:
    predicted, references = [row[0] for row in rows], [[row[1]] for row in rows]
    found = generation(predicted, references, list(METRICS))
    for name, make in METRICS.items():
        metric = make()
        assert found[name].value == metric.corpus_score(predicted, [[row[1] for row in rows]]).score
        assert found[name].signature == str(metric.get_signature())


@given(corpora)
@settings(max_examples=25, deadline=None)
def test_references_may_be_more_for_some_texts_than_for_others(rows: list[tuple[str, str, str]]) -> None:
    predicted = [row[0] for row in rows]
    second = [None if number % 2 else row[2] for number, row in enumerate(rows)]
    references = [[row[1]] if other is None else [row[1], other] for row, other in zip(rows, second, strict=True)]
    found = generation(predicted, references, list(METRICS))
    for name, make in METRICS.items():
        metric = make()
        assert found[name].value == pytest.approx(metric.corpus_score(predicted, [[row[1] for row in rows], second]).score, abs=1e-11)
        assert found[name].signature == str(metric.get_signature())


@pytest.mark.parametrize("tokenize", BLEU_TOKENIZERS)
def test_bleu_takes_the_tokenizer_that_is_named(tokenize: str) -> None:
    predicted, references = ["我看见了两只鸟。", "It's 3.5 km, Mr. X"], ["我看见两只小鸟。", "It's 3.5 km to X"]
    metric = BLEU(tokenize=tokenize)
    found = generation(predicted, [[text] for text in references], ["bleu"], tokenize=tokenize)["bleu"]
    assert found.value == metric.corpus_score(predicted, [references]).score
    assert f"tok:{tokenize}" in found.signature


def test_the_interval_agrees_with_that_of_sacrebleu() -> None:
    rng = np.random.default_rng(0)
    references = [" ".join(rng.choice(WORDS, 12)) for _ in range(200)]
    predicted = [" ".join(word if rng.random() < 0.8 else "x" for word in text.split()) for text in references]
    for name, make in (("bleu", BLEU), ("chrf", CHRF)):
        ours = generation(predicted, [[text] for text in references], [name], rounds=1000)[name]
        theirs = make().corpus_score(predicted, [references], n_bootstrap=1000)
        assert ours.low is not None and ours.high is not None
        assert (ours.high - ours.low) / 2 == pytest.approx(theirs._ci, rel=0.15)


@given(corpora, st.booleans())
@settings(max_examples=25, deadline=None)
def test_ascii_texts_have_exactly_the_figures_of_rouge_score(rows: list[tuple[str, str, str]], stem: bool) -> None:
    plain = [[text.encode("ascii", "ignore").decode().replace(" . ", " .\n") for text in row] for row in rows]
    found = generation([row[0] for row in plain], [row[1:] for row in plain], ROUGES, stem=stem)
    scorer = RougeScorer(ROUGES, use_stemmer=stem)
    each = [scorer.score_multi(row[1:], row[0]) for row in plain]
    for name in ROUGES:
        assert found[name].value == pytest.approx(np.mean([scores[name].fmeasure for scores in each]), abs=1e-15)


@given(st.text(st.characters(max_codepoint=127)), st.booleans())
def test_words_of_ascii_are_those_of_rouge_score(text: str, stem: bool) -> None:
    assert Words(stem).tokenize(text) == DefaultTokenizer(stem).tokenize(text)


def test_letters_of_all_scripts_make_words_and_chinese_characters_stand_alone() -> None:
    assert Words(True).tokenize("Die Häuser, “naïve” dogs_running") == ["die", "häuser", "naïve", "dog", "run"]
    assert Words(True).tokenize("我有2只dogs。हिन्दी") == ["我", "有", "2", "只", "dog", "हिन्दी"]
    found = generation(["我看见了鸟"], [["我看见了鱼"]], ["rouge1", "rouge2"])
    assert found["rouge1"].value == pytest.approx(4 / 5) and found["rouge2"].value == pytest.approx(3 / 4)


def test_exact_match_is_with_any_reference_but_for_space_around() -> None:
    assert generation([" yes\n", "no"], [["No", "yes"], ["yes"]], ["exact_match"])["exact_match"].value == 1 / 2


@pytest.mark.filterwarnings("error")
def test_empty_texts_score_nothing_and_tokenized_ones_are_not_talked_about(caplog: pytest.LogCaptureFixture) -> None:
    found = generation(["", ""], [["a b"], ["c"]], TEXTS, rounds=5)
    assert all(found[name].value == 0 for name in TEXTS if name != "ter") and found["ter"].value == 100
    with caplog.at_level(logging.WARNING):
        generation(["a dog ."] * 120, [["a dog ."]] * 120, TEXTS)
    assert not caplog.records


def test_a_text_without_references_is_refused() -> None:
    for references in ([["a"]], [["a"], []]):
        with pytest.raises(ValueError, match="a reference or more"):
            generation(["a", "b"], references, ["bleu"])
