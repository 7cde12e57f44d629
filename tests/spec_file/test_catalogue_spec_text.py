"""Bad spec text: each input ends with exit code 2, the right place, the right words, and no traceback."""

import os
import time
from pathlib import Path

import pytest

from lmkit.errors import SpecError
from lmkit.spec_file.load import MOST_BYTES, load

REST = """
tokenizer: {kind: character}
data: {train: {builtin: python_reference}}
model: {kind: decoder, num_layers: 2, hidden_size: 32, num_heads: 4}
tasks: {lm: causal_lm}
training: {steps: 10, batch_size: 2, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""
VALID = "name: tiny" + REST


def told(folder: Path, text: str | bytes) -> str:
    """All lines for a spec of this text, `spec.yaml:` standing for its path."""
    path = folder / "spec.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        load(path)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(path), "spec.yaml")


def test_the_valid_spec_of_this_file_is_valid(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(VALID)
    assert load(tmp_path / "spec.yaml").spec.name == "tiny"


def test_1_an_absent_file_names_the_yaml_files_nearby(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(VALID)
    with pytest.raises(SpecError, match=r"no such file or directory; YAML files there: other\.yaml"):
        load(tmp_path / "spec.yaml")


def test_1_a_folder_is_no_spec(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(VALID)
    with pytest.raises(SpecError, match=r"is a folder; name the spec file in it; YAML files there: other\.yaml"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000])
def test_1_an_impossible_file_name_is_an_error_of_one_line(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "---\n# nothing\n...\n"])
def test_2_an_empty_file_points_to_init(tmp_path: Path, text: str) -> None:
    assert told(tmp_path, text) == "spec.yaml:1:1: the spec is empty; `lmkit init` writes a start"


@pytest.mark.parametrize(("text", "kind"), [("- name: x\n", "a list"), ("name x\n", "a single value"), ("\n\n3\n", "a single value")])
def test_3_the_top_is_a_mapping(tmp_path: Path, text: str, kind: str) -> None:
    assert told(tmp_path, text).startswith("spec.yaml:1:1: a spec is a mapping") and kind in told(tmp_path, text)


@pytest.mark.parametrize("text", ["model:\n\tkind: encoder\n", "model:\n  kind: encoder\n\tnum_layers: 2\n"])
def test_4_a_tab_in_the_indentation(tmp_path: Path, text: str) -> None:
    line = text.count("\n", 0, text.index("\t")) + 1
    assert told(tmp_path, text).startswith(f"spec.yaml:{line}:1: a tab in the indentation; use spaces\n")


def test_5_a_key_given_twice_names_both_lines(tmp_path: Path) -> None:
    assert told(tmp_path, VALID + "name: again\n") == "spec.yaml:7:1: name: given twice, on line 1 and on line 7; keep one"


def test_5_a_key_given_twice_in_flow_style(tmp_path: Path) -> None:
    text = VALID.replace("num_heads: 4", "num_heads: 4, num_heads: 8")
    assert told(tmp_path, text) == "spec.yaml:4:70: model.num_heads: given twice, on line 4 and on line 4; keep one"


def test_6_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 60))
    load_started = time.perf_counter()
    assert "spec.yaml:1:5: a0: anchors and aliases (&a0) are not supported" in told(tmp_path, bomb)
    assert time.perf_counter() - load_started < 2


def test_6_a_single_anchor_and_a_single_alias_are_refused(tmp_path: Path) -> None:
    text = VALID.replace("name: tiny", "name: &n tiny").replace("lm: causal_lm", "lm: causal_lm, x: *n")
    assert told(tmp_path, text).split("\n") == [
        "spec.yaml:1:7: name: anchors and aliases (&n) are not supported; write the value out, or use extends",
        "spec.yaml:5:27: tasks.x: anchors and aliases (*n) are not supported; write the value out, or use extends",
    ]


def test_7_an_alias_to_itself(tmp_path: Path) -> None:
    assert "anchors and aliases (*a) are not supported" in told(tmp_path, VALID + "logging: &a {samples: [*a]}\n")


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir", "!!python/name:os.system", "!custom", "!!str", "!"])
def test_8_tags_are_refused_and_nothing_is_run(tmp_path: Path, tag: str) -> None:
    made = tmp_path / "made"
    told_text = told(tmp_path, VALID.replace("name: tiny", f"name: {tag} ['{made}']"))
    assert told_text.startswith("spec.yaml:1:7: name: tags (") and told_text.endswith("are not supported; remove it")
    assert not made.exists()


@pytest.mark.parametrize(
    "text", ["seed: " + "[" * 2000, "seed: " + "{a: " * 2000, "seed:\n" + "".join(" " * i + "- \n" for i in range(1, 900))]
)
def test_9_deep_nesting(tmp_path: Path, text: str) -> None:
    assert "nested deeper than 32 levels" in told(tmp_path, text)


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "1" * 5000, "0x" + "f" * 5000])
def test_10_a_number_of_thousands_of_digits(tmp_path: Path, number: str) -> None:
    text = told(tmp_path, VALID + f"seed: {number}\n")
    assert text.startswith("spec.yaml:7:7: seed: a number of 500") and len(text) < 200


def test_11_bytes_that_are_not_utf8_are_named_by_offset(tmp_path: Path) -> None:
    assert told(tmp_path, b"seed: 1\nname: caf\xe9\n") == "spec.yaml:2:10: byte 17 (0xe9) is not UTF-8; save the file as UTF-8"


def test_11_utf16_is_not_utf8(tmp_path: Path) -> None:
    assert "spec.yaml:1:1: byte 0 (0xff) is not UTF-8" in told(tmp_path, VALID.encode("utf-16"))


def test_11_nul_and_control_characters_are_named_by_offset(tmp_path: Path) -> None:
    assert told(tmp_path, "name: é\0b\n") == "spec.yaml:1:8: NUL at byte 8; remove it"
    assert told(tmp_path, "name: a\x07b\n") == "spec.yaml:1:8: control character U+0007 at byte 7; remove it"
    assert "the text at byte 6 holds U+0000" in told(tmp_path, VALID.replace("name: tiny", 'name: "a\\0b"'))


def test_11_a_lone_surrogate_is_no_text(tmp_path: Path) -> None:
    assert told(tmp_path, 'name: "\\ud800"\n').startswith("spec.yaml:1:10: an escape of an invalid Unicode character")
    assert "(byte 9)" in told(tmp_path, 'name: "\\ud800"\n')
    assert "is not UTF-8" in told(tmp_path, b"name: \xed\xa0\x80\n")


def test_11_a_byte_order_mark_is_accepted_and_shifts_no_column(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_bytes(b"\xef\xbb\xbf" + VALID.encode())
    assert load(tmp_path / "good.yaml").spec.name == "tiny"
    assert told(tmp_path, b"\xef\xbb\xbf" + VALID.replace("name: tiny", "nam: tiny").encode()).startswith("spec.yaml:1:1: nam:")


def test_12_windows_line_ends_are_accepted_and_shift_no_line(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_bytes(VALID.replace("\n", "\r\n").encode())
    assert load(tmp_path / "good.yaml").spec.name == "tiny"
    bad = VALID.replace("steps: 10", "steps: big").replace("\n", "\r\n")
    assert told(tmp_path, bad) == 'spec.yaml:6:19: training.steps: expected a whole number, got "big"'


def test_13_a_second_document(tmp_path: Path) -> None:
    assert told(tmp_path, VALID + "---\n" + VALID).startswith("spec.yaml:7:1: a second document begins here")
    (tmp_path / "good.yaml").write_text("%YAML 1.2\n---\n" + VALID + "...\n")
    assert load(tmp_path / "good.yaml").spec.name == "tiny"


def test_14_merge_keys(tmp_path: Path) -> None:
    assert told(tmp_path, VALID + "<<: {seed: 1}\n") == "spec.yaml:7:1: merge keys are not supported; write the keys out, or use extends"


@pytest.mark.parametrize(("text", "value"), [("1e-4", 1e-4), ("5E-5", 5e-5), ("1.e-3", 1e-3), (".001", 1e-3), ("1e-04", 1e-4)])
def test_15_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str, value: float) -> None:
    (tmp_path / "spec.yaml").write_text(VALID.replace("learning_rate: 1e-3", f"learning_rate: {text}"))
    assert load(tmp_path / "spec.yaml").spec.training.optimizer.learning_rate.peak == value


@pytest.mark.parametrize(
    ("word", "meant"), [("no", "false"), ("off", "false"), ("N", "false"), ("yes", "true"), ("On", "true"), ("y", "true")]
)
def test_16_no_and_yes_are_text_and_a_truth_key_says_what_to_write(tmp_path: Path, word: str, meant: str) -> None:
    text = VALID.replace("reference}}", f"reference}}, packing: {word}}}")
    assert told(tmp_path, text) == f'spec.yaml:3:53: data.packing: expected true or false, got "{word}"; write {meant}'
    (tmp_path / "spec.yaml").write_text(VALID.replace("name: tiny", f"name: {word}"))
    assert load(tmp_path / "spec.yaml").spec.name == word


@pytest.mark.parametrize("number", ["010", "1:30", "1_000", "-010", "190:20:30", "1_000.5", "00", "12:30:45.6"])
def test_17_numbers_that_yaml_versions_read_differently(tmp_path: Path, number: str) -> None:
    assert told(tmp_path, VALID + f"seed: {number}\n").startswith(
        f"spec.yaml:7:7: seed: ambiguous number {number}; write it in plain digits"
    )


@pytest.mark.parametrize(("text", "value"), [("0x1F", 31), ("0o17", 15), ("0", 0), ("+7", 7)])
def test_17_hexadecimal_and_plain_numbers_are_clear(tmp_path: Path, text: str, value: int) -> None:
    (tmp_path / "spec.yaml").write_text(VALID + f"seed: {text}\n")
    assert load(tmp_path / "spec.yaml").spec.seed == value


def test_18_a_date_is_text(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(VALID.replace("tiny", "2024-01-01"))
    assert load(tmp_path / "spec.yaml").spec.name == "2024-01-01"


@pytest.mark.parametrize("number", [".nan", ".NaN", ".inf", "-.inf", "+.INF", "1e999", "-1e999"])
def test_19_numbers_are_finite(tmp_path: Path, number: str) -> None:
    text = told(tmp_path, VALID.replace("learning_rate: 1e-3", f"learning_rate: {number}"))
    assert text.startswith("spec.yaml:6:78: training.optimizer.learning_rate: ") and text.endswith("it must be finite")


def test_20_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(SpecError, match="is no regular file"):
        load(tmp_path / "pipe.yaml")


def test_20_a_device_is_refused_without_reading_it() -> None:
    with pytest.raises(SpecError, match="is no regular file"):
        load("/dev/zero")


def test_20_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "spec.yaml").open("wb") as file:
        file.truncate(10 * 2**30)
    started = time.perf_counter()
    with pytest.raises(SpecError, match=f"a spec has at most {MOST_BYTES:,}"):
        load(tmp_path / "spec.yaml")
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("text", "place", "what", "source", "column"),
    [
        ("model:\n  hidden_size 500\n  num_heads: 8\n", "2:3", "a colon is missing", "  hidden_size 500", 2),
        ("name: x\nhidden 500\n", "2:1", "a colon is missing", "hidden 500", 0),
        ("model:\n   kind: encoder\n  num_layers: 3\n", "3:3", "fits neither the indentation", "  num_layers: 3", 2),
        ("model:\n  kind: encoder\n   num_layers: 3\n", "3:14", "is indented differently", "   num_layers: 3", 13),
        ('name: "abc\nseed: 1\n', "1:7", "a quote that is never closed", 'name: "abc', 6),
        ("name: 'abc\n", "1:7", "a quote that is never closed", "name: 'abc", 6),
        ("data: {train: {text: a\nseed: 1\n", "2:5", "the bracket opened on line 1 is not closed", "seed: 1", 4),
        ("name: @x\n", "1:7", "text cannot begin with @", "name: @x", 6),
        ("data: {train: {text: *.txt}}\n", "1:22", "put text that begins with & or * in quotes", "data: {train: {text: *.txt}}", 21),
    ],
)
def test_21_a_syntax_error_shows_its_line_with_a_caret(tmp_path: Path, text: str, place: str, what: str, source: str, column: int) -> None:
    first, shown, caret = told(tmp_path, text).split("\n")
    assert first.startswith(f"spec.yaml:{place}: ") and what in first
    assert shown == f"  | {source}" and caret == "  | " + " " * column + "^"


def test_keys_are_words(tmp_path: Path) -> None:
    assert "spec.yaml:7:1: a key must be a word, not a list or mapping" in told(tmp_path, VALID + "[a]: 1\n")


def test_all_problems_of_the_text_and_of_its_meaning_come_together(tmp_path: Path) -> None:
    text = VALID.replace("hidden_size: 32", "hiden_size: 33").replace("steps: 10", "steps: 010") + "name: again\n"
    assert [line.split(": ", 2)[1] for line in told(tmp_path, text).split("\n")] == [
        "model.hiden_size",
        "model.hidden_size",
        "training.steps",
        "name",
    ]
