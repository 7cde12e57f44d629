"""The resolved spec as text, and the JSON Schema that editors use."""

import json
import re
from pathlib import Path

import jsonschema
import pytest

from lmkit import cli
from lmkit.run.schema import json_schema
from lmkit.spec_file.load import load, plain_words, resolved_text
from lmkit.spec_file.recipes import recipes

ALL = recipes()


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_shipped_spec_and_its_resolved_text_pass_the_schema(name: str, validator: jsonschema.Draft202012Validator) -> None:
    validator.validate(plain_words(ALL[name].read_text()))
    validator.validate(plain_words(resolved_text(load(ALL[name]).spec)))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("model", "num_head", 4),
        ("model", "num_layers", "many"),
        ("training", "batch_size", 0),
        ("model", "position", "rotery"),
        ("data", "train", 3),
    ],
)
def test_the_schema_refuses_what_check_refuses(section: str, key: str, value: object, validator: jsonschema.Draft202012Validator) -> None:
    words = plain_words(ALL["debug-decoder"].read_text())
    words[section][key] = value
    assert not validator.is_valid(words)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("training", "steps", "20k"),
        ("model", "dropout", "15%"),
        ("model", "position", ["learned", {"kind": "rotary"}]),
        ("model", "attention", {"window": [8, "full"]}),
        ("training", "evaluate_every", "1k steps"),
        ("training", "optimizer", {"kind": "lion", "learning_rate": 1e-4, "clip_norm": "off"}),
        ("data", "train", {"web": {"text": ["a", "b"]}, "books": {"csv": "c"}}),
    ],
)
def test_the_schema_knows_the_short_ways_to_write(
    section: str, key: str, value: object, validator: jsonschema.Draft202012Validator, tmp_path: Path
) -> None:
    words = plain_words(ALL["debug-decoder"].read_text())
    words[section][key] = value
    validator.validate(words)


def test_every_key_of_the_schema_is_described() -> None:
    for name, definition in json_schema()["$defs"].items():
        assert definition.get("description"), name


def test_show_prints_every_default_and_reads_back_as_the_same_spec(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["show", "--origin", str(ALL["debug-encoder"])]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "shown.yaml").write_text(shown)
    assert load(tmp_path / "shown.yaml").spec == load(ALL["debug-encoder"]).spec
    assert re.search(r"^  head_dim: 8 +# default: hidden_size / num_heads$", shown, re.MULTILINE)
    assert re.search(rf"^  num_layers: 2 +# {re.escape(str(ALL['debug-encoder']))}:\d+:\d+$", shown, re.MULTILINE)
    assert all("#" in line for line in shown.splitlines() if not line.endswith(":"))


def test_show_as_json_holds_words_and_origins(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "--origin", "--json", str(ALL["debug-decoder"]), "seed=4"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["spec"]["seed"] == 4 and shown["origins"]["seed"] == "command line argument 1"
    assert shown["spec"]["model"]["position"] == [
        {"kind": "rotary", "base": 10000.0, "fraction": 1.0, "layout": "half", "scaling": {"kind": "none"}}
    ]
