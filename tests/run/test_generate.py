"""`lmkit generate`: what its words do together, and one line for each that does not fit."""

import json
import shutil
from pathlib import Path

import pytest

from lmkit.cli import main

DECODER = str(Path(__file__).parents[2] / "model_configs" / "debug-decoder.yaml")
FOLDERS = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders"
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


@pytest.fixture(scope="module")
def folder(decoder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("foreign") / "folder"
    assert main(["export", decoder, str(made), "--format", "huggingface"]) == 0
    return made


def test_a_folder_writes_as_its_makers_meant(decoder: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (greedy,) = answers(capsys, decoder, PROMPT, "--greedy")
    assert answers(capsys, str(folder), PROMPT) == [greedy]
    habits = shutil.copytree(folder, tmp_path / "habits") / "generation_config.json"
    habits.write_text(json.dumps({"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 5, "typical_p": 0.5}))
    capsys.readouterr()
    assert main(["generate", str(habits.parent), PROMPT, "--json"]) == 0
    captured = capsys.readouterr()
    found = [json.loads(line) for line in captured.out.splitlines()]
    assert [one["tokens"] for one in found] == [5, 5] and found[0]["score"] >= found[1]["score"]
    assert captured.err == f"note: {habits}: typical_p is not followed\n"
    assert answers(capsys, str(habits.parent), PROMPT, "--greedy") == [greedy]
    assert len(answers(capsys, str(habits.parent), PROMPT, "--texts", "3", "--top-k", "5")) == 3


@pytest.mark.parametrize(
    ("said", "arguments", "code", "line"),
    [
        ({"num_beams": 0}, (), 4, "{}: num_beams: expected a whole number of 1 or more, got 0\n"),
        ({"bad_words_ids": [[70000]]}, (), 4, "{}: bad_words_ids: names token 70000, the model has "),
        ({"max_length": 2}, (), 2, "command line: --max-tokens: generation_config.json ends texts at 2 tokens and the prompt has "),
        ({"num_beams": 2}, ("--texts", "3"), 2, "command line: --texts: 2 beams cannot give 3 texts\n1 problem; nothing was started.\n"),
        ({}, ("--texts", "3"), 2, "command line: --texts: the likeliest tokens give one text; draw, or add --beams\n"),
    ],
)
def test_habits_that_do_not_fit_are_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: dict, arguments: tuple[str, ...], code: int, line: str
) -> None:
    file = shutil.copytree(folder, tmp_path / "folder") / "generation_config.json"
    file.write_text(json.dumps(said))
    capsys.readouterr()
    assert main(["generate", str(file.parent), PROMPT, *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(line.format(file))


def test_an_imported_run_keeps_the_habits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = shutil.copytree(folder, tmp_path / "folder")
    (home / "generation_config.json").write_text(json.dumps({"num_beams": 2, "repetition_penalty": 1.5}))
    assert main(["import", str(home), str(tmp_path / "run")]) == 0
    assert answers(capsys, str(tmp_path / "run"), PROMPT) == answers(capsys, str(home), PROMPT)


def test_beside_an_encoder_only_the_answer_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    folder, prompts = str(FOLDERS / "t5"), ["a small text", "another one " * 400]
    found = answers(capsys, folder, *prompts)
    assert [one["prompt"] for one in found] == prompts
    assert main(["generate", folder, *prompts, "--max-tokens", "12"]) == 0
    captured = capsys.readouterr()
    assert captured.out == found[0]["text"] + "\n\n" + found[1]["text"] + "\n"
    assert "tokens at once; a prompt of " in captured.err and captured.err.count("is cut\n") == 1
    (best, second) = answers(capsys, folder, prompts[0], "--beams", "3", "--texts", "2")
    assert best["score"] >= second["score"]
    assert main(["generate", folder, prompts[0], "--max-tokens", "12", "--temperature", "1.5", "--seed", "4"]) == 0
    streamed = capsys.readouterr().out
    (drawn,) = answers(capsys, folder, prompts[0], "--temperature", "1.5", "--seed", "4")
    assert streamed == drawn["text"] + "\n"
