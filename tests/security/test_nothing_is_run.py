"""Files of strangers: whatever is in them, nothing of it is run, nothing outside is read, and no memory is taken on their word."""

import ast
import json
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.header import read_header
from lmkit.checkpoints.manifest import Manifest, Written, read_manifest
from lmkit.cli import main
from lmkit.errors import CheckpointError, DataError, LmkitError
from lmkit.text.build import load_tokenizer
from lmkit.text.chat import ChatTemplate

ROOT = Path(__file__).parents[2]
FOLDERS = ROOT / "tests" / "checkpoints" / "hub" / "folders"
MADE = "canary"  # the folder that hostile code would make

SPEC = """\
name: tiny
tokenizer: {kind: character}
data: {train: {text: a.txt}, max_length: 8}
model: {kind: decoder, num_layers: 1, hidden_size: 8, num_heads: 2, norm: {kind: custom, class: "mine.py:Mine"}}
tasks: {lm: causal_lm}
training: {steps: 2, batch_size: 2, optimizer: {kind: adamw, learning_rate: 1e-3}}
"""
CODE = f"""\
import os

os.mkdir("{MADE}")

from lmkit.layers.layer import Layer


class Mine(Layer):
    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def build(self, input_shape=None):
        self.built = True

    def call(self, x):
        return x
"""


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (MADE,)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not Path(MADE).exists(), "something was run"


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    assert main(list(arguments)) == code, capsys.readouterr()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def copied(name: str) -> Path:
    folder = Path(name)
    folder.mkdir()
    for path in (FOLDERS / name).iterdir():
        if path.is_file() and path.suffix != ".npz":
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def hostile_files() -> dict[str, bytes]:
    """By suffix what a loader of that kind would run."""
    pickled = pickle.dumps(Hostile())
    array = Path("made.npy")
    np.save(array, np.array([Hostile()], object), allow_pickle=True)
    layer = {"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}
    with zipfile.ZipFile("made.keras", "w") as file:
        file.writestr("config.json", json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))
        file.writestr("../../escaped", b"x")
    found = {suffix: pickled for suffix in (".pt", ".pth", ".bin", ".pkl", ".ckpt", ".h5", ".hdf5")}
    return found | {".npy": array.read_bytes(), ".npz": pickled, ".keras": Path("made.keras").read_bytes()}


def test_a_file_that_holds_code_is_not_opened(capsys: pytest.CaptureFixture[str]) -> None:
    for suffix, raw in hostile_files().items():
        Path(f"weights{suffix}").write_bytes(raw)
        for verb in (
            ["import", f"weights{suffix}", "dest"],
            ["predict", f"weights{suffix}", "--text", "a"],
            ["export", f"weights{suffix}", "dest"],
        ):
            assert "may run code" in refused(capsys, 4, *verb)
        folder = copied("bert_qa") if not Path("bert_qa").exists() else Path("bert_qa")
        (folder / "model.safetensors").unlink(missing_ok=True)
        name = folder / f"pytorch_model{suffix}"
        name.write_bytes(raw)
        assert "it may run code" in refused(capsys, 4, "import", "bert_qa", "dest")
        name.unlink()
    assert not Path("dest").exists()


def test_code_beside_a_model_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("bert_qa")
    (folder / "modeling.py").write_text(CODE)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Mine"}}))
    assert "auto_map names code of the folder, which is never run" in refused(capsys, 4, "import", "bert_qa", "dest")


@pytest.mark.parametrize("verb", [["train", "s.yaml"], ["plan", "s.yaml"], ["check", "s.yaml"], ["show", "s.yaml"]])
def test_a_spec_names_code_and_only_the_command_line_lets_it_run(capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    Path("mine.py").write_text(CODE)
    Path("s.yaml").write_text(SPEC)
    Path("a.txt").write_text("one two three\n" * 20)
    said = refused(capsys, 2 if verb[0] == "train" else 0, *verb)
    assert verb[0] != "train" or "the spec names code of your own; read it, then say --allow-code to run it" in said
    assert not Path("runs").exists()


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "builtins.eval", "../mine.py:Mine", "keras.layers.Lambda"])
def test_no_word_of_a_spec_is_looked_up_in_python(capsys: pytest.CaptureFixture[str], name: str) -> None:
    for key in ("kind: custom, class: mine.py:Mine", "kind: decoder"):
        text = SPEC.replace('"', "").replace(key, key.rpartition(": ")[0] + f": {name}" if "class" in key else f"kind: {name}")
        Path("s.yaml").write_text(text)
        refused(capsys, 2, "train", "s.yaml")


HUGE = 2**50
ATTACKS: dict[str, object] = {
    "larger than the file": {"a": {"dtype": "F32", "shape": [HUGE], "data_offsets": [0, 4 * HUGE]}},
    "of 2**64 numbers": {"a": {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}},
    "of no numbers and huge axes": {"a": {"dtype": "F32", "shape": [2**61, 0], "data_offsets": [0, 4]}},
    "of many axes": {"a": {"dtype": "U8", "shape": [1] * 10_000, "data_offsets": [0, 1]}},
    "overlapping": {name: {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]} for name in "ab"},
    "with a hole": {"a": {"dtype": "U8", "shape": [4], "data_offsets": [4, 8]}},
    "that ends before it begins": {"a": {"dtype": "U8", "shape": [8], "data_offsets": [8, 0]}},
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_tensor_is_refused_before_there_is_memory_for_it(attack: str) -> None:
    text = json.dumps(ATTACKS[attack]).encode()
    Path("a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            read_header(Path("a.safetensors"))
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_a_shard_that_is_a_link_out_of_its_folder_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("mistral_swa")
    shard = sorted(folder.glob("*-of-*"))[1]
    shard.rename("elsewhere.safetensors")
    shard.symlink_to(Path("elsewhere.safetensors").absolute())
    assert f"names the file {shard.name}, which is a link out of the folder" in refused(capsys, 4, "import", "mistral_swa", "dest")


def test_the_links_of_hugging_faces_own_cache_are_followed(capsys: pytest.CaptureFixture[str]) -> None:
    folder = copied("bert_qa")
    home = Path("models--x")
    (home / "blobs").mkdir(parents=True)
    (home / "snapshots" / "1").mkdir(parents=True)
    for path in folder.iterdir():
        path.rename(home / "blobs" / path.name)
        (home / "snapshots" / "1" / path.name).symlink_to(Path("../../blobs") / path.name)
    assert load_tokenizer(home / "snapshots" / "1").vocab_size > 0


def test_a_tokenizers_file_that_is_a_link_out_is_not_copied_into_a_run() -> None:
    folder = copied("bert_qa")
    Path("secret").write_text("a private key")
    (folder / "chat_template.jinja").symlink_to(Path("secret").absolute())
    with pytest.raises(CheckpointError, match="is a link out of its folder"):
        load_tokenizer(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 100_000, '{"a": ' + "9" * 10_000 + "}"], ids=["lists", "mappings", "digits"])
def test_json_without_bottom_is_a_line(capsys: pytest.CaptureFixture[str], name: str, text: str) -> None:
    folder = copied("mistral_swa")
    (folder / name).write_text(text)
    assert len(refused(capsys, 4, "import", "mistral_swa", "dest").splitlines()) == 1


def test_a_manifest_names_only_files_of_its_folder() -> None:
    Path("step-00000001").mkdir()
    manifest = Manifest(1, {"../../etc/passwd": Written(1, "0" * 64)}, {}, {}, {})
    (Path("step-00000001") / "MANIFEST.json").write_bytes(manifest.dump())
    with pytest.raises(CheckpointError, match="which is no file of this folder"):
        read_manifest(Path("step-00000001"))


TEMPLATES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__ }}",
    "{{ cycler.__init__.__globals__.os.mkdir('canary') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ ''|attr('__class__')|attr('__mro__') }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ lipsum.__globals__ }}",
    "{{ raise_exception.__globals__ }}",
    "{{ dict.__globals__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends '/etc/passwd' %}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(a=1) }}",
]
ENDLESS = [
    "{% for i in range(10**9) %}a{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for a in range(9) recursive %}{{ loop(range(99999)) }}{% endfor %}",
    "{{ 'a' * 10**12 }}",
    "{{ [1] * 10**9 }}",
    "{{ 10**(10**10) }}",
    "{{ 2**(2**40) }}",
    "{{ lipsum(n=10**9) }}",
    "{{ 1 / 0 }}",
    "{{ " + "(" * 1000 + "1" + ")" * 1000 + " }}",
]


@pytest.mark.parametrize("source", [*TEMPLATES, *ENDLESS])
def test_a_chat_template_ends_and_reaches_nothing(source: str) -> None:
    try:
        template = ChatTemplate(source, special={}, controls={})
        said = template.prompt([{"role": "user", "content": "a"}]).text
    except LmkitError as error:
        assert len(str(error).splitlines()) == 1
        said = str(error)
    assert "<class 'object'>" not in said and "root:" not in said and "<module" not in said and len(said) < 1000
    if source in ENDLESS:
        with pytest.raises(LmkitError):
            ChatTemplate(source, special={}, controls={}).prompt([{"role": "user", "content": "a"}])


def test_a_long_conversation_is_far_from_the_bound() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.content | trim }}{% endfor %}", special={}, controls={})
    assert len(template.prompt([{"role": "user", "content": "a"}] * 20_000).text) == 20_000


def test_a_pattern_that_takes_for_ever_is_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a|aa)+$"}, "behavior": "Isolated", "invert": False},
        "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"},
    }
    Path("tokenizer.json").write_text(json.dumps(tokenizer))
    found = load_tokenizer(Path("tokenizer.json"))
    for encode in (lambda text: found.encode([text]), lambda text: found.encode([text], specials=False), lambda text: found.spans([text])):
        with pytest.raises(CheckpointError, match="the tokenizer gives up on a text"):
            encode("a" * 60 + "b")


NEVER = {"eval", "exec", "compile", "__import__", "breakpoint"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "importlib", "runpy", "code", "imp", "torch"}
LOADERS = {
    "load_model",
    "model_from_json",
    "load_weights",
    "deserialize_keras_object",
    "import_module",
    "unpack_archive",
    "extractall",
    "system",
    "popen",
}
MAY = {
    "layers/layer.py": {"deserialize_keras_object"},  # of a layer that is in memory, for who copies a model
    "run/code.py": {"exec", "compile"},  # the user's own files, after --allow-code
    "run/verify_transformers.py": {"torch"},  # opens what lmkit has just written
}


def test_the_package_has_no_way_to_run_what_it_reads() -> None:
    for file in sorted((ROOT / "lmkit").rglob("*.py")):
        allowed = MAY.get(str(file.relative_to(ROOT / "lmkit")), set())
        for node in ast.walk(ast.parse(file.read_text())):
            names: set[str] = set()
            match node:
                case ast.Call(func=ast.Name(id=name)):
                    names = {name} & NEVER
                case ast.Call(func=ast.Attribute(attr=name, value=ast.Name(id=owner))):
                    names = {name} & LOADERS
                    if (owner, name) in (("np", "load"), ("numpy", "load")):
                        assert any(word.arg == "allow_pickle" and ast.unparse(word.value) == "False" for word in node.keywords), file
                    assert (owner, name) not in (("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load")), file
                case ast.Call(func=ast.Attribute(attr=name)):
                    names = {name} & LOADERS
                case ast.Import(names=found):
                    names = {one.name.split(".")[0] for one in found} & MODULES
                case ast.ImportFrom(module=str(module), names=found):
                    inside = {"importlib"} if module == "importlib.metadata" else set()  # versions, which run nothing
                    names = ({module.split(".")[0]} - inside) & MODULES
            assert names <= allowed, f"{file}: {names}"
            if isinstance(node, ast.keyword):
                assert node.arg not in ("trust_remote_code", "shell", "allow_pickle") or ast.unparse(node.value) == "False", file


def test_a_tokens_file_of_pickles_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    from lmkit.data.sources import read
    from lmkit.data.spec import Parquet, TextFiles

    for suffix, raw in hostile_files().items():
        Path(f"a{suffix}").write_bytes(raw)
        for source in (TextFiles(text=(f"a{suffix}",)), Parquet(parquet=(f"a{suffix}",))):
            with pytest.raises(DataError):
                list(read(source))
