"""What a user sees at the command line: text, exit codes, JSON, speed of start."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lmkit import cli
from lmkit.checkpoints.hub.keras_hub.known import PRESETS
from lmkit.checkpoints.hub.known import FAMILIES
from lmkit.spec_file.load import plain_words
from lmkit.spec_file.recipes import recipes

SPEC = str(recipes()["debug-decoder"])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def process(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments] if code else [sys.executable, "-m", "lmkit.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_check_says_ok(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", SPEC) == (0, f"{SPEC}: ok\n", "")


def test_problems_go_to_standard_error_one_a_line_and_the_last_line_counts_them(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(Path(SPEC).read_text().replace("num_layers", "num_layer").replace("batch_size: 4", "batch_size: big"))
    code, out, err = run(capsys, "check", str(path), "seed=-1")
    assert (code, out) == (2, "")
    assert err.split("\n")[-2:] == ["3 problems; nothing was started.", ""]
    line = path.read_text().split("num_layer:")[0].count("\n") + 1
    assert f"{path}:{line}:3: model.num_layer: unknown key; did you mean num_layers?\n" in err
    assert "command line argument 1: seed: expected a number from 0 to below 2147483648, got -1\n" in err


def test_json_gives_the_same_as_data(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", "--json", SPEC, "training.steps=x")
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "ok": False,
        "exit_code": 2,
        "problems": [{"where": "command line argument 1", "key": "training.steps", "what": 'expected a whole number, got "x"'}],
    }
    assert json.loads(run(capsys, "check", SPEC, "--json")[1]) == {"ok": True, "name": "debug-decoder", "warnings": []}


def test_json_problems_hold_file_line_and_column(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "a:b.yaml"
    path.write_text("nme: x\n")
    (first, *_) = json.loads(run(capsys, "check", "--json", str(path))[1])["problems"]
    assert (first["file"], first["line"], first["column"], first["key"]) == (str(path), 1, 1, "data") or first["key"] == "nme"


def test_warnings_do_not_fail_unless_strict(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "check", SPEC, "training.optimizer.learning_rate.peak=2")
    assert (code, out) == (0, f"{SPEC}: ok\n") and err.startswith("warning: command line argument 1: ")
    assert run(capsys, "check", "--strict", SPEC, "training.optimizer.learning_rate.peak=2")[0] == 2


def test_overrides_may_stand_on_both_sides_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", SPEC, "seed=5", "--origin", "name=x")
    assert code == 0 and "name: x" in out and "seed: 5" in out and "command line argument 2" in out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["chekc", "x"], "command line: chekc is no verb; did you mean check?; see lmkit --help"),
        (["spec.yaml"], "command line: spec.yaml is no verb; did you mean lmkit train spec.yaml?; see lmkit --help"),
        (["check"], "command line: the following arguments are required: spec; see lmkit check --help"),
        (["check", SPEC, "--wrong"], "command line: unrecognized arguments: --wrong; see lmkit check --help"),
        (
            ["data", SPEC, "--examples", "0"],
            'command line: argument --examples: expected a whole number of 1 or more, got "0"; see lmkit data --help',
        ),
        (
            ["generate", "r", "--top-k", "x"],
            'command line: argument --top-k: expected a whole number of 1 or more, got "x"; see lmkit generate --help',
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err == f"{line}\n1 problem; nothing was started.\n"


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0 and all(f"\n  {verb} " in out for verb in cli.VERBS)
    assert run(capsys)[1] == out


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_has_help(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([verb, "--help"])
    assert caught.value.code == 0 and f"lmkit {verb}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("lmkit 0.")


def test_a_bug_leaves_its_traceback_in_a_file_where_one_can_be_made(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("lmkit.run.check.load", lambda *_, **__: 1 / 0)
    code, _, err = run(capsys, "check", SPEC)
    (file,) = tmp_path.iterdir()
    assert code == 70 and "Traceback" not in err and str(file) in err
    assert "ZeroDivisionError" in file.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    code, _, err = run(capsys, "check", SPEC)
    assert code == 70 and err.startswith("Traceback") and err.splitlines()[-1].endswith("please report it with the lines above")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE])
def test_a_full_disk_and_too_few_open_files_are_exit_code_5(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "/x")

    monkeypatch.setattr("lmkit.run.check.load", full)
    assert run(capsys, "check", SPEC)[::2] == (5, f"/x: {os.strerror(number).lower()}\n")


@pytest.mark.parametrize("error", [MemoryError(), type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor")])
def test_no_memory_is_exit_code_5_with_the_keys_to_lower(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def greedy(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("lmkit.run.check.load", greedy)
    code, _, err = run(capsys, "check", SPEC)
    assert code == 5 and err.startswith("out of memory; lower training.batch_size")


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    command = f"{sys.executable} -m lmkit.cli schema | head -c 10 >/dev/null"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


def test_odd_surroundings_are_no_trouble() -> None:
    for command in ("COLUMNS=abc {} check {}", "{} check {} >&-", "{} check {} >&- 2>&-"):
        line = command.format(f"{sys.executable} -m lmkit.cli", SPEC)
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, ""), line


def test_check_leaves_heavy_libraries_alone() -> None:
    code = "import sys; from lmkit.cli import main; main(sys.argv[1:]); print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = process("check", SPEC, code=code)
    assert "ok" in done.stdout
    for heavy in ("tensorflow", "keras", "numpy", "tokenizers", "pyarrow", "safetensors"):
        assert f"'{heavy}'" not in done.stdout


def test_help_imports_neither_pydantic_nor_yaml() -> None:
    done = process(
        "--help", code="import sys; from lmkit.cli import main; main(sys.argv[1:]); print('pydantic' in sys.modules, 'yaml' in sys.modules)"
    )
    assert done.stdout.endswith("False False\n")


def test_check_costs_little_more_than_the_import_of_pydantic() -> None:
    """Both in processor time, the best of three, so that a busy machine does not matter. The promise is 0.4 s on an idle one."""

    def spent(*command: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    unavoidable = min(spent("-c", "from pydantic import AfterValidator, BaseModel, Field") for _ in range(3))
    assert min(spent("-m", "lmkit.cli", "check", SPEC) for _ in range(3)) < 4 * unavoidable


def test_init_writes_a_spec_that_passes_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    assert run(capsys, "init", "-o", str(path))[0] == 0
    assert run(capsys, "check", "--strict", str(path))[0] == 0
    assert run(capsys, "init", "-o", str(path))[::2] == (
        2,
        f"{path}: is there already; name another file\n1 problem; nothing was started.\n",
    )


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("reviews.csv", 'id,body,stars\n1,"good, really",5\n', {"text": "body", "label": "stars"}),
        ("pairs.tsv", "sentence1\tsentence2\tlabel\na\tb\t1\n", {"text": "sentence1", "text_pair": "sentence2", "label": "label"}),
        ("web.jsonl", '{"url": "u", "story": "a long text"}\n', {"text": "story"}),
        ("web.ndjson", '{"url": "u", "story": "a long text"}\n', {"text": "story"}),
        ("web.json", '[\n  {\n    "url": "u",\n    "story": "a long text"\n  }\n]\n', {"text": "story"}),
        ("book.txt", "Once upon a time.\n", None),
    ],
)
def test_init_reads_the_columns_of_a_data_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str, columns: dict[str, str] | None
) -> None:
    (tmp_path / name).write_text(text)
    code, out, _ = run(capsys, "init", str(tmp_path / name))
    assert code == 0
    (tmp_path / "spec.yaml").write_text(out)
    assert run(capsys, "check", "--strict", str(tmp_path / "spec.yaml"))[0] == 0
    shown = json.loads(run(capsys, "show", "--json", str(tmp_path / "spec.yaml"))[1])["spec"]
    assert shown["data"]["train"]["train"].get("columns") == columns
    assert ("classification" in json.dumps(shown["tasks"])) == ("label" in (columns or {}))


@pytest.mark.parametrize(
    ("name", "text", "task"),
    [
        ("names.conll", "EU NNP B-ORG\n\n", "token_classification"),
        ("tree.CONLLU", "1\tEU\teu\tPROPN\t_\t_\t0\troot\t_\t_\n\n", "token_classification"),
        ("asked.json", '{"version": "2.0", "data": []}', "question_answering"),
    ],
)
def test_init_knows_what_files_of_one_kind_are_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, text: str, task: str
) -> None:
    (tmp_path / name).write_text(text)
    code, out, _ = run(capsys, "init", str(tmp_path / name))
    (tmp_path / "spec.yaml").write_text(out)
    assert code == 0 and run(capsys, "check", "--strict", str(tmp_path / "spec.yaml"))[0] == 0
    assert task in out


def test_init_names_the_run_by_the_folder_where_the_file_is_called_train(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = {}
    for file in ("hotels/train.csv", "my news/train.csv", "news/reviews.csv", "news/trains.csv"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("text,label\na,1\n")
        names[file] = plain_words(run(capsys, "init", str(tmp_path / file))[1])["name"]
    assert list(names.values()) == ["hotels", "my-news", "reviews", "trains"]


@pytest.mark.parametrize("name", recipes())
def test_init_as_json_is_the_same_spec_without_comments(capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str) -> None:
    text = run(capsys, "init", name, "--json")[1]
    assert json.loads(text) == plain_words(run(capsys, "init", name)[1]) == plain_words(text)


def test_init_lists_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(capsys, "init", "--list", "--json")[1]).keys() == recipes().keys()


def test_import_says_every_model_that_it_reads(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["import", "--help"])
    said = capsys.readouterr().out
    assert all(family.model_type in said for family in (*FAMILIES, *PRESETS))


def test_init_of_an_unknown_name_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean quickstart?" in run(capsys, "init", "quikstart")[2]
    assert run(capsys, "init", "absent.csv")[0] == 3
    listed = run(capsys, "init", "--list")[1]
    assert all(name in listed for name in recipes())
