"""One thing wrong at a time, anywhere: never a traceback, always the right line, nearly always the right suggestion."""

import re
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmkit.errors import SpecError
from lmkit.spec_file import words
from lmkit.spec_file.load import load
from lmkit.spec_file.recipes import recipes

TEXTS = [
    """\
name: fuzz
tokenizer:
  kind: wordpiece
  vocab_size: 500
data:
  train:
    csv: a.csv
    columns:
      text: body
      label: stars
  validation:
    holdout: 5%
  max_length: 48
model:
  kind: encoder
  num_layers: 2
  hidden_size: 32
  num_heads: 4
  attention:
    window: [8, full]
  position:
    kind: learned
  norm:
    kind: layer_norm
    placement: post
  feed_forward:
    kind: gated
    activation: silu
  dropout: 0.1
tasks:
  stars:
    kind: classification
    pooling: mean
training:
  epochs: 2
  batch_size: 4
  optimizer:
    kind: adamw
    learning_rate:
      kind: linear
      peak: 3e-3
      warmup: 10%
    weight_decay: 0.1
  evaluate_every: 10 steps
  early_stopping:
    monitor: stars/accuracy
logging:
  every: 1
""",
    recipes()["quickstart"].read_text(),
    recipes()["debug-encoder"].read_text(),
]
KEY = re.compile(r"(?:^|[\s{,-])([a-z_0-9]+):(?= |$)", re.MULTILINE)
NAMES = {"stars", "lm", "mlm", "nsp"}  # chosen by the user: no slip of them is an error by itself
SOME = settings(max_examples=100, deadline=20_000, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "spec.yaml"


def problems(path: Path, text: str | bytes) -> list[tuple[int, str]]:
    """Line and text of every problem; fails for anything but a spec or a SpecError with places."""
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    try:
        load(path)
        return []
    except SpecError as error:
        assert 1 <= len(error.problems) <= 20 and error.exit_code == 2
        found = []
        for problem in error.problems:
            place = re.fullmatch(re.escape(str(path)) + r":(\d+):(\d+)", problem.where)
            assert place, problem
            found.append((int(place[1]), problem.what))
        return found


def keys(text: str) -> list[re.Match[str]]:
    body = re.sub(r"#.*", lambda comment: " " * len(comment[0]), text)
    return [match for match in KEY.finditer(body) if match[1] not in NAMES]


@pytest.mark.parametrize("text", TEXTS)
def test_the_texts_that_are_mutated_are_right(path: Path, text: str) -> None:
    assert problems(path, text) == []


@SOME
@given(st.data())
def test_a_slip_in_a_key_is_told_on_its_line(path: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    key = data.draw(st.sampled_from(keys(text)))
    at = data.draw(st.integers(key.start(1), key.end(1) - 1))
    letter = data.draw(st.sampled_from(string.ascii_lowercase))
    slip = data.draw(st.sampled_from([text[:at] + text[at + 1 :], text[:at] + letter + text[at:], text[:at] + letter + text[at + 1 :]]))
    line = text.count("\n", 0, key.start(1)) + 1
    if slip != text:
        found = problems(path, slip)
        assert line in [where for where, _ in found], (slip, found)


def test_the_suggestion_for_a_slip_of_one_letter_is_nearly_always_the_key(path: Path) -> None:
    right = tried = 0
    for text in TEXTS:
        for key in keys(text):
            for at in range(key.start(1), key.end(1)):
                tried += 1
                right += any(
                    re.search(rf"did you mean (\w+ or )?{key[1]}( or \w+)?\?", what)
                    for _, what in problems(path, text[:at] + text[at + 1 :])
                )
    assert tried > 300 and right / tried >= 0.95, f"{right} of {tried}"


VALUES = [
    "true",
    "null",
    "-1",
    "0",
    "1e30",
    "1.5",
    '"12"',
    "[1]",
    "{a: 1}",
    "zzz",
    "'",
    "[",
    "010",
    ".nan",
    "*x",
    "!t x",
    "&a b",
    "1T",
    "5 apples",
    "%",
    "@",
    "2024-01-01",
]


@SOME
@given(st.data())
def test_another_value_is_right_or_told_on_its_line(path: Path, data: st.DataObject) -> None:
    text = TEXTS[0]
    lines = text.splitlines()
    number = data.draw(st.sampled_from([i for i, line in enumerate(lines) if not line.endswith(":")]))
    name, _, _ = lines[number].partition(": ")
    lines[number] = f"{name}: {data.draw(st.sampled_from(VALUES))}"
    found = problems(path, "\n".join(lines) + "\n")
    syntax = any("\n  |" in what for _, what in found)
    related = name.strip() in {
        "kind",
        "csv",
        "pooling",
        "label",
        "text",
        "num_heads",
        "max_length",
        "epochs",
        "num_layers",
        "monitor",
        "holdout",
    }
    too_large = any("parameters take" in what for _, what in found)  # said of the whole model
    assert not found or syntax or related or too_large or number + 1 in [where for where, _ in found], (lines[number], found)


@SOME
@given(st.data())
def test_a_line_taken_out_or_doubled_is_right_or_told(path: Path, data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(TEXTS)).splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    problems(path, "\n".join(lines[:number] + lines[number + 1 :]))
    doubled = problems(path, "\n".join([*lines[: number + 1], *lines[number:]]))
    if ":" in lines[number] and not lines[number].lstrip().startswith("#"):
        assert any("given twice" in what for _, what in doubled)


@SOME
@given(st.integers(0, 2), st.integers(0, 2000), st.binary(max_size=4))
def test_any_bytes_anywhere_never_break_it(path: Path, which: int, at: int, some: bytes) -> None:
    raw = TEXTS[which].encode()
    problems(path, raw[:at] + some + raw[at:])


@SOME
@given(st.text(alphabet=st.sampled_from("ab:-?!&*#|>%@`\"'{}[], \t\n01.~<é"), max_size=60))
def test_any_text_of_yaml_signs_never_breaks_it(path: Path, text: str) -> None:
    problems(path, text)


@SOME
@given(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(),
            st.floats(allow_nan=False, allow_infinity=False),
            st.sampled_from(["x", "kind", "full"]),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(sorted({key for _, cls in words.sections() for key in words.fields(cls)})), inner, max_size=5),
        ),
        max_leaves=12,
    )
)
def test_any_values_under_known_keys_never_break_it(path: Path, value: object) -> None:
    from lmkit.spec_file.plain_yaml import text_of

    base = {"name": "x", "tokenizer": value, "data": {"train": value}, "model": value, "tasks": {"a": value}, "training": value}
    problems(path, text_of(base))
    problems(path, text_of({**base, "data": value, "tasks": value, "runtime": value, "logging": value}))
