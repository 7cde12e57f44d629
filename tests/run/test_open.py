"""Models in memory: held and computed in a dtype that is chosen, with answers that it can change in a late digit only."""

import json
from pathlib import Path

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes, read_header
from lmkit.cli import main
from lmkit.run.console import Console
from lmkit.run.open import open_trained

FOLDERS = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders"
CONSOLE = Console(out=print, err=print, write=print)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def copied(name: str, home: Path, part: str, largest: float) -> Path:
    """A copy of a folder of one float32 file, in which the weights of a part, by the end of its name, grow up to the largest."""
    folder = home / "folder"
    folder.mkdir()
    for path in (FOLDERS / name).iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    stored = read_header(folder / "model.safetensors")
    tensors = {key: one.read() for key, one in stored.items()}
    for key in tensors:
        if key.endswith(f"{part}.weight"):
            tensors[key] *= np.float32(largest / np.abs(tensors[key]).max())
    header = header_bytes([(key, one.dtype, one.shape) for key, one in stored.items()])
    (folder / "model.safetensors").write_bytes(header + b"".join(tensor.tobytes() for tensor in tensors.values()))
    return folder


@pytest.mark.parametrize(
    ("folder", "dtype", "held"),
    [
        ("mistral_swa", "stored", "bfloat16"),
        ("mistral_swa", "float32", "float32"),
        ("mistral_swa", "float16", "float16"),
        ("bert_qa", "stored", "float32"),
    ],
)
def test_every_weight_is_held_in_the_dtype_that_is_asked_for(folder: str, dtype: str, held: str) -> None:
    model = open_trained(FOLDERS / folder, CONSOLE, dtype=dtype).model
    assert {weight.dtype for weight in model.weights} == {held}
    assert model.hidden({"tokens": np.ones((1, 4), np.int32)}).dtype.name == held


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(
    ("folder", "texts"),
    [
        ("roberta_seqcls", ["--text", "a fox"]),
        ("bert_qa", ["--text", "who?", "--pair", "the fox"]),
        ("minilm_st", ["--text", "a fox"]),
        ("albert_mlm", ["--text", "a [MASK]"]),
    ],
)
def test_answers_differ_in_a_late_digit_only(capsys: pytest.CaptureFixture[str], folder: str, texts: list[str], dtype: str) -> None:
    exact, rough = (answer(capsys, "predict", str(FOLDERS / folder), *texts, "--dtype", d) for d in ("float32", dtype))
    one, other = (np.array(numbers_in(found)) for found in (exact, rough))
    assert len(one) and not np.array_equal(one, other)
    np.testing.assert_allclose(np.sort(other), np.sort(one), atol=0.05)


def numbers_in(found: object) -> list[float]:
    if isinstance(found, dict | list):
        return [number for part in (found.values() if isinstance(found, dict) else found) for number in numbers_in(part)]
    return [found] if isinstance(found, float) else []


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("way", [["--greedy"], ["--top-k", "5"], ["--beams", "3"]], ids=lambda way: way[0])
@pytest.mark.parametrize("folder", ["gpt2_hub_layout", "mistral_swa", "t5", "marian"])
def test_texts_are_written_in_16_bits_in_every_way(capsys: pytest.CaptureFixture[str], folder: str, way: list[str], dtype: str) -> None:
    said = answer(capsys, "generate", str(FOLDERS / folder), "The quick", *way, "--min-tokens", "6", "--max-tokens", "6", "--dtype", dtype)
    assert said["tokens"] == 6


def test_figures_of_an_evaluation_differ_in_a_late_digit_only(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    (home / "t.txt").write_text("The quick brown fox.\n" * 20)
    run = ("evaluate", str(FOLDERS / "mistral_swa"), "--data", "t.txt")
    exact, rough = (answer(capsys, *run, "--dtype", dtype)["figures"]["lm/loss"] for dtype in ("float32", "stored"))
    assert exact != rough == pytest.approx(exact, rel=0.01)


def test_a_weight_that_float16_cannot_hold_is_named(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    folder = str(copied("bert_qa", home, "word_embeddings", 7e4))
    assert main(["predict", folder, "--text", "who?", "--pair", "the fox", "--dtype", "float16"]) == 4
    said = capsys.readouterr().err
    assert said == "embeddings.token.embedding has values that float16 cannot hold; choose bfloat16 or float32\n"


@pytest.mark.parametrize(
    ("folder", "part", "verb"),
    [
        ("roberta_seqcls", "intermediate.dense", ["predict", "--text", "a fox"]),
        ("llama_seqcls", "up_proj", ["evaluate", "--data", "t.csv"]),
        ("smollm2", "norm", ["generate", "The quick", "--greedy"]),
        ("smollm2", "norm", ["generate", "The quick", "--beams", "2"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_overflows_while_it_is_computed_is_no_answer(
    capsys: pytest.CaptureFixture[str], home: Path, folder: str, part: str, verb: list[str]
) -> None:  # fmt: skip
    (home / "t.csv").write_text("text,label\nthe fox,LABEL_0\n")
    arguments = [verb[0], str(copied(folder, home, part, 6e4)), *verb[1:]]
    assert main(arguments) == 0
    capsys.readouterr()
    assert main([*arguments, "--dtype", "float16"]) == 6
    assert capsys.readouterr().err == "--dtype: what the model computes is not finite in this dtype; choose bfloat16 or float32\n"
