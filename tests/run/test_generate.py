"""`lmkit generate`: what its words do together, and one line for each that does not fit."""

import json
from pathlib import Path

import pytest

from lmkit.cli import main

DECODER = str(Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml")
PROMPT = "The with statement"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    run = str(tmp_path_factory.mktemp("home") / "decoder")
    assert main(["train", DECODER, "--run-dir", run]) == 0
    return run


def answers(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    capsys.readouterr()
    assert main(["generate", *arguments, "--max-tokens", "12", "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--temperature -1", "--temperature: expected a temperature of 0 or more, got -1.0"),
        ("--top-p 0", "--top-p: expected a share above 0 and at most 1, got 0.0"),
        ("--min-p 1.5", "--min-p: expected a share above 0 and at most 1, got 1.5"),
        ("--repetition-penalty 0", "--repetition-penalty: expected a number above 0, got 0.0"),
        ("--beams 2 --length-penalty nan", "--length-penalty: expected a number, got nan"),
        ("--min-tokens 30 --max-tokens 20", "--min-tokens: 30 are more than --max-tokens 20"),
        ("--beams 3 --temperature 0.7", "--temperature: a search draws nothing; leave it out or leave out --beams"),
        ("--beams 3 --texts 4", "--texts: 3 beams cannot give 4 texts"),
        ("--length-penalty 2", "--length-penalty: belongs to a search; add --beams"),
        ("--early-stopping true", "--early-stopping: belongs to a search; add --beams"),
        ("--greedy --top-k 4", "--top-k: --greedy takes the likeliest token; leave out one of the two"),
        ("--greedy --beams 2", "--beams: --greedy takes the likeliest token; leave out one of the two"),
        ("--greedy --texts 2", "--texts: the likeliest tokens give one text; draw, or add --beams"),
        ("--early-stopping soon", 'argument --early-stopping: expected true, false or never, got "soon"; see lmkit generate --help'),
    ],
)
def test_a_word_that_does_not_fit_is_one_line(capsys: pytest.CaptureFixture[str], words: str, line: str) -> None:
    assert main(["generate", "no-run", *words.split()]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"command line: {line}\n1 problem; nothing was started.\n")


def test_several_words_that_do_not_fit_are_named_together(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "no-run", "--beams", "2", "--top-k", "5", "--min-p", "0.1"]) == 2
    err = capsys.readouterr().err
    assert "--top-k: a search" in err and "--min-p: a search" in err and err.endswith("2 problems; nothing was started.\n")


def test_a_search_gives_its_best_texts_with_falling_scores(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(capsys, decoder, PROMPT, "A", "--beams", "4", "--texts", "2", "--length-penalty", "0.5", "--early-stopping", "never")
    assert [one["prompt"] for one in found] == [PROMPT, PROMPT, "A", "A"]
    assert found[0]["score"] >= found[1]["score"] and found[0]["text"] != found[1]["text"]
    assert found == answers(
        capsys, decoder, PROMPT, "A", "--beams", "4", "--texts", "2", "--length-penalty", "0.5", "--early-stopping", "never"
    )  # fmt: skip


def test_one_beam_is_greedy(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert answers(capsys, decoder, PROMPT, "--beams", "1") == answers(capsys, decoder, PROMPT, "--greedy")


def test_a_search_is_written_when_it_is_complete_and_cut_at_a_stop(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (whole,) = answers(capsys, decoder, PROMPT, "--beams", "3")
    stop = whole["text"][-3:]
    (cut,) = answers(capsys, decoder, PROMPT, "--beams", "3", "--stop", stop)
    assert (cut["reason"], cut["text"]) == ("stop", whole["text"][: whole["text"].find(stop)])
    assert main(["generate", decoder, PROMPT, "--beams", "3", "--max-tokens", "12"]) == 0
    assert capsys.readouterr().out == PROMPT + whole["text"] + "\n"


def test_rules_reach_the_drawing(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    (free,) = answers(capsys, decoder, PROMPT, "--greedy")
    (strict,) = answers(capsys, decoder, PROMPT, "--greedy", "--repetition-penalty", "5", "--no-repeat-ngram", "1")
    assert free["text"] != strict["text"]
    assert len(answers(capsys, decoder, PROMPT, "--texts", "3", "--min-p", "0.02", "--min-tokens", "4")) == 3


def test_a_streamed_text_is_the_text(decoder: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = []
    for how in ([], ["--no-stream"]):
        assert main(["generate", decoder, PROMPT, "--max-tokens", "12", *how]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
