"""What a run keeps and whom it speaks to: no secret of the surroundings is in its folder, and nobody is spoken to."""

import socket
from pathlib import Path

import pytest

from lmkit.cli import main
from lmkit.spec_file.recipes import recipes

SPEC = recipes()["debug-decoder"]
CANARY = "hf_" + "cAnArY" * 6


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (SPEC.read_text() + f"# for later: {CANARY}\n", f"spec.yaml:{SPEC.read_text().count(chr(10)) + 1}:14: looks like a password"),
        (SPEC.read_text().replace("name: debug", f"name: {CANARY} # debug", 1), ":7: name: looks like a password or token"),
        (f"{CANARY}: 1\n", "looks like a password or token"),
        (f'name: "{CANARY}\n', "a quote that is never closed"),
    ],
    ids=["a comment", "a value", "a key", "a text that does not end"],
)
def test_a_spec_that_holds_a_secret_is_refused_and_the_secret_not_repeated(
    capsys: pytest.CaptureFixture[str], text: str, place: str
) -> None:
    Path("spec.yaml").write_text(text)
    assert main(["train", "spec.yaml"]) == 2
    said = capsys.readouterr()
    assert place in said.err and CANARY not in said.err + said.out
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    "secret",
    [
        "password = Tr0ub4dor",
        "API_KEY: 12345678",
        f"eyJ{'a1B2' * 4}.eyJ{'c3D4' * 4}.sig",
        f"s3?X-Amz-Signature={'0f' * 32}",
        f"AIza{'Sy1_-' * 7}",
    ],
)
def test_secrets_of_other_forms_are_seen_too(capsys: pytest.CaptureFixture[str], secret: str) -> None:
    Path("spec.yaml").write_text(SPEC.read_text() + f"# {secret}\n")
    assert main(["check", "spec.yaml"]) == 2
    said = capsys.readouterr()
    assert "looks like a password or token" in said.err and secret not in said.err + said.out


@pytest.mark.parametrize("override", [f"name={CANARY}", f"model.norm={CANARY}", f"{CANARY}=1", CANARY, f"training.steps=[{CANARY}"])
def test_an_argument_that_holds_a_secret_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str], override: str) -> None:
    assert main(["train", str(SPEC), override]) == 2
    said = capsys.readouterr()
    assert CANARY not in said.err + said.out and not Path("runs").exists()


def test_a_run_speaks_to_nobody_and_keeps_nothing_of_its_surroundings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object) -> None:
        raise AssertionError("a connection was opened")

    for method in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, method, nobody)
    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "SOME_PASSWORD"):
        monkeypatch.setenv(name, CANARY)
    assert main(["train", str(SPEC)]) == 0
    assert main(["evaluate", "runs/debug-decoder"]) == 0
    assert main(["export", "runs/debug-decoder", "exported"]) == 0
    assert main(["import", "exported", "imported"]) == 0
    files = [path for path in Path().rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err
