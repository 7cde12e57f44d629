"""Every shipped spec is executed: checked, planned, built at full size with the planned parameters, and trained for a few steps."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.cli import main
from lmkit.data.spec import Conll, Conllu, Holdout, JsonLines, Parallel, Squad, Tsv
from lmkit.models.spec import FromRun
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "model_configs").rglob("*.yaml"))
WHOLE = [path for path in SHIPPED if not isinstance(load(path).spec.model, FromRun)]
PUBLISHED = {"bert-base": 109_482_240, "gpt2-small": 124_439_808}  # BERT with its pooler and without the masked-LM head
SMALL_TRAINING = [
    "data.max_length=64",
    "training.steps=4",
    "training.tokens=null",
    "training.epochs=null",
    "training.batch_size=4",
    "training.evaluate_every=2 steps",
    "training.optimizer.learning_rate=1e-3",
    "training.gradient_accumulation_steps=1",
    "runtime.steps_per_call=1",
    "logging.every=1",
]
SMALL_MODEL = ["model.num_layers=2", "model.hidden_size=32", "model.num_heads=4", "model.feed_forward.intermediate_size=64"]
MINILM = ROOT / "tests" / "checkpoints" / "hub" / "folders" / "minilm_st"


def name_of(path: Path) -> str:
    return path.stem


def plan_of(path: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> dict:
    assert main(["plan", "--json", str(path), *overrides]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_shipped_spec_is_right_and_says_what_it_is(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--strict", str(path)]) == 0
    assert "ok" in capsys.readouterr().out
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert any("Hardware" in line for line in head) and any("Score" in line for line in head), "the header says hardware, time and score"


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_the_plan_names_the_parameters_that_are_built(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = load(path).spec
    overrides = [] if hasattr(spec.tokenizer, "vocab_size") else ["tokenizer={kind: bpe, vocab_size: 300}"]
    parameters = plan_of(path, capsys, *overrides)["parameters"]
    assert parameters["total"] == built_parameters(load(path, overrides).spec)
    if path.stem in PUBLISHED:
        pooler = sum(head.get("pooler", 0) for head in parameters["heads"].values())
        assert parameters["backbone_total"] + pooler == PUBLISHED[path.stem]


def built_parameters(spec: RunSpec) -> int:
    from lmkit.models.build import build_backbone
    from lmkit.tasks.build import build_head

    assert not isinstance(spec.model, FromRun)
    vocab = getattr(spec.tokenizer, "vocab_size", 0)
    backbone = build_backbone(spec.model, vocab_size=vocab, max_length=spec.data.max_length)
    fit: dict[str, Any] = {"backbone": backbone, "model_spec": spec.model, "num_labels": 2, "max_length": spec.data.max_length}
    parts = [backbone, *(build_head(task, name, **fit) for name, task in spec.tasks.items())]
    return sum(int(np.prod(variable.shape)) for part in parts for variable in part.weights)


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_a_shipped_spec_trains_when_made_small(path: Path, runs: Path) -> None:
    run = trained_small(path, runs)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if line["kind"] == "validation"] == [2, 4]
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert (run / "report.md").exists()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def trained_small(path: Path, folder: Path) -> Path:
    """The run of a shipped spec on made data of its own format; the run that it starts from, if any, is trained before."""
    run = folder / path.stem
    if run.exists():
        return run
    spec = load(path).spec
    data = made(spec, folder / f"{path.stem}-data")
    overrides = [f"data.{part}={written}" for part, written in data.items()] + SMALL_TRAINING
    if not isinstance(spec.model, FromRun):
        overrides += SMALL_MODEL
    else:
        earlier = path.with_name(f"{Path(spec.model.from_).name}.yaml")
        overrides.append(f"model.from={trained_small(earlier, folder) if earlier.exists() else MINILM}")
    if hasattr(spec.tokenizer, "vocab_size"):
        overrides.append("tokenizer.vocab_size=400")
    assert main(["train", str(path), "--run-dir", str(run), *overrides]) == 0
    return run


def made(spec: RunSpec, folder: Path) -> dict[str, str]:
    """Files of 40 records for data.train and data.validation, in the formats and under the field names that the spec says."""
    folder.mkdir(parents=True)
    (task,) = [task for task in spec.tasks.values() if hasattr(task, "roles") and task.roles][:1] or [None]
    names = list(task.labels) if task is not None and isinstance(getattr(task, "labels", None), (dict, list, tuple)) else ["0", "1"]
    random = np.random.default_rng(0)
    return {
        part: source_of(source, names, folder, part, random)
        for part, source in (("train", next(iter(spec.data.train.values()))), ("validation", spec.data.validation))
        if source is not None
    }


def words(random: np.random.Generator, count: int = 8) -> str:
    return " ".join("".join(random.choice(list("abcdef"), 3)) for _ in range(count))


def source_of(source: object, labels: list[str], folder: Path, part: str, random: np.random.Generator) -> str:
    """Writes one source's file; returns the words for `data.train=`."""
    match source:
        case JsonLines() | Tsv():
            records = [{field: value_of(role, labels, random) for role, field in source.columns.items()} for _ in range(40)]
            kind = "jsonl" if isinstance(source, JsonLines) else "tsv"
            lines = [json.dumps(record) if kind == "jsonl" else "\t".join(map(str, record.values())) for record in records]
            text = "\n".join(lines if kind == "jsonl" else ["\t".join(records[0]), *lines])
            columns = ", ".join(f"{role}: {field}" for role, field in source.columns.items())
            return f"{{{kind}: {file(folder / f'{part}.{kind}', text)}, columns: {{{columns}}}}}"
        case Conll():
            text = sentences("{word}\t{tag}", random)
            return f"{{conll: {file(folder / f'{part}.conll', text)}}}"
        case Conllu():
            text = sentences("{place}\t{word}\t_\t{tag}\t_\t_\t0\troot\t_\t_", random)
            return f"{{conllu: {file(folder / f'{part}.conllu', text)}, columns: {{text: FORM, tags: UPOS}}}}"
        case Squad():
            paragraphs = []
            for place in range(40):
                context = words(random)
                answer = {"text": context.split()[2], "answer_start": context.index(context.split()[2])}
                paragraphs.append({"context": context, "qas": [{"id": str(place), "question": words(random, 3), "answers": [answer]}]})
            return f"{{squad: {file(folder / f'{part}.json', json.dumps({'data': [{'paragraphs': paragraphs}]}))}}}"
        case Parallel():
            sides = (file(folder / f"{part}.{side}", "\n".join(words(random) for _ in range(300))) for side in ("read", "write"))
            return "{{text: {}, target: {}}}".format(*sides)
        case Holdout():
            return "{holdout: 10%}"
        case _:
            return "{builtin: python_reference}"


def sentences(line: str, random: np.random.Generator) -> str:
    """40 sentences, each word in a line of this form, with one of two tags."""
    rows = [enumerate(words(random).split(), 1) for _ in range(40)]
    return "".join("\n".join(line.format(place=n, word=word, tag=("B-x", "O")[n % 2]) for n, word in row) + "\n\n" for row in rows)


def value_of(role: str, labels: list[str], random: np.random.Generator) -> object:
    if role == "label":
        return str(random.choice(labels))
    if role in ("labels", "choices"):
        return labels if role == "labels" else [words(random), words(random)]
    return float(random.integers(0, 6)) if role == "value" else words(random, 40)


def file(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path
