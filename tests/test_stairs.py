"""The house plan, proved from the source: rooms import upwards only, and words stay with their owners."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lmkit"
STAIRS = [
    "errors",
    "spec",
    "counting",
    "engine",
    "layers",
    "positions",
    "attention",
    "blocks",
    "inputs",
    "models",
    "heads",
    "generation",
    "text",
    "scores",
    "tasks",
    "data",
    "checkpoints",
    "training",
    "inference",
    "spec_file",
    "run",
    "cli",
    "__main__",
]
OWNERS = {
    "yaml": {"spec_file/yaml_text.py"},
    "pydantic": {"spec.py", "spec_file/validate.py"},
    "tensorflow": {"engine/"},
    "safetensors": {"checkpoints/"},
    "h5py": {"checkpoints/hub/keras_hub/"},
    "tokenizers": {"text/"},
    "jinja2": {"text/"},
    "tensorboard": {"training/"},
    "argparse": {"cli.py"},
    "pyarrow": {"data/"},
    "datasets": {"data/"},
    "sklearn": {"scores/"},
    "scipy": {"scores/"},
    "sacrebleu": {"scores/"},
    "rouge_score": {"scores/"},
}
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "importlib.import_module"}
LOADERS = {
    "load_model",
    "from_pretrained",
    "model_from_json",
    "full_load",
    "unsafe_load",
    "import_module",
    "exec_module",
    "spec_from_file_location",
    "run_path",
}
HEAVY = {"tensorflow", "keras", "keras_hub"}
NUMPY = {"counting", "text", "scores", "tasks", "data", "checkpoints"}  # rooms
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Every module imported anywhere in the file, lazily or not."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(tree: ast.AST) -> set[str]:
    return {module.split(".")[0] for module in imports(tree)}


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    here = room_of(path)
    if here == "__init__":
        return
    for module in imports(parse(path)):
        parts = module.split(".")
        if parts[0] == "lmkit" and len(parts) > 1:
            assert parts[1] in STAIRS, f"{name_of(path)} imports {module}, which has no place on the stairs"
            assert STAIRS.index(parts[1]) <= STAIRS.index(here), f"{name_of(path)} must not look down to {module}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_words_stay_with_their_owners(path: Path) -> None:
    name = name_of(path)
    for word in tops(parse(path)) & OWNERS.keys():
        assert any(
            name == owner or name.endswith("/" + owner) or (owner.endswith("/") and name.startswith(owner)) for owner in OWNERS[word]
        ), f"{word} does not belong in {name}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_environment_and_terminal_are_only_in_the_cli(path: Path) -> None:
    if name_of(path) == "cli.py":
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("os", "environ"), ("os", "getenv"), ("sys", "argv")}, f"line {node.lineno}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            allowed = {"exec"} if name_of(path) == "run/code.py" else set()  # where a user's code is run, after permission
            assert node.func.id not in {"print", "input", "eval", "exec", "__import__"} - allowed, f"line {node.lineno}"


# Opens what lmkit itself has just written, to prove that others can.
PROVING: dict[str, set[str]] = {"run/verify_transformers.py": {"from_pretrained"}}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nothing_can_load_code_from_a_file(path: Path) -> None:
    tree = parse(path)
    assert not tops(tree) & FORBIDDEN
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in LOADERS - PROVING.get(name_of(path), set()), f"line {node.lineno}"
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant) and node.value.value is False, "allow_pickle must be False"


@pytest.mark.parametrize("path", [p for p in FILES if room_of(p) in NUMPY], ids=name_of)
def test_numpy_rooms_know_no_keras(path: Path) -> None:
    if name_of(path) != "tasks/build.py":
        assert not tops(parse(path)) & HEAVY


@pytest.mark.parametrize("path", [p for p in FILES if p.name == "spec.py"], ids=name_of)
def test_words_know_no_tensors(path: Path) -> None:
    assert not tops(parse(path)) & (HEAVY | {"numpy"})


def test_the_whole_spec_is_known_only_to_its_own_room_and_to_run() -> None:
    knowing = {name_of(path) for path in FILES if "RunSpec" in path.read_text(encoding="utf-8")}
    assert all(name.startswith(("spec_file/", "run/")) for name in knowing), knowing


def test_inits_are_empty() -> None:
    for path in FILES:
        if path.name == "__init__.py":
            assert path.read_text(encoding="utf-8") == "", name_of(path)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_opens_with_what_it_is(path: Path) -> None:
    if path.name != "__init__.py":
        assert ast.get_docstring(parse(path)), f"{name_of(path)} has no opening sentence"
