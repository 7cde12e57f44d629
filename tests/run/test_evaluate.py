"""Figures of `lmkit evaluate` and of evaluations in training are those that the field's libraries give for the answers written."""

import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error
from sklearn.preprocessing import MultiLabelBinarizer

from lmkit.cli import main
from lmkit.data.document import Document
from lmkit.errors import DataError
from lmkit.inference.gold import pairing, right
from lmkit.inference.writing import Writer
from lmkit.run.directory import RunDirectory
from lmkit.run.watchdog import Patience
from lmkit.spec_file.load import load
from lmkit.tasks.spec import Classification, SentenceEmbedding, TokenClassification

ANIMALS, COLOURS, DEEDS = ("fox", "dog", "cat", "owl"), ("red", "brown", "grey"), ("jumps", "sleeps", "runs")
BODY = "model: {kind: KIND, num_layers: 1, hidden_size: 16, num_heads: 2}\n"
TRAINING = "training: {steps: 6, batch_size: 4, evaluate_every: 3 steps, precision: float32, optimizer: {kind: adamw, learning_rate: 0.01}"
UNDERSTANDING = """
name: all
tokenizer: {kind: wordpiece, vocab_size: 80, lowercase: true}
data:
  train:
    reviews: {jsonl: reviews.jsonl, columns: {text: body, label: stars, labels: topics, value: score}}
    names: {conll: names.conll}
    questions: {squad: questions.json}
    pairs: {csv: pairs.csv, columns: {text: one, text_pair: other, value: like}}
    quiz: {jsonl: quiz.jsonl, columns: {text: asked, choices: offered, label: right}}
  validation: {holdout: 30%}
  max_length: 24
tasks:
  stars: {kind: classification, data: reviews, metrics: [accuracy, f1, matthews]}
  long: {kind: classification, data: reviews, labels: {bad: poor, good: fine}, metrics: [accuracy, f1_micro], windows: {stride: 4}}
  topics: {kind: classification, data: reviews, multi_label: true, metrics: [f1, f1_samples]}
  score: {kind: regression, data: reviews, metrics: [pearson, spearman, mse]}
  names: {kind: token_classification, data: names, metrics: [accuracy, f1, f1_by_type]}
  qa: {kind: question_answering, data: questions, metrics: [exact_match, f1, best_f1], no_answer_threshold: 0.5}
  like: {kind: sentence_embedding, data: pairs, loss: cosine, values: [0, 5]}
  quiz: {kind: multiple_choice, data: quiz}
"""
AWAY = """
name: away
tokenizer: {kind: wordpiece, vocab_size: 80, lowercase: true}
data: {train: {jsonl: away.jsonl, columns: {text: body, label: stars}}, validation: {holdout: 30%}, max_length: 24}
tasks: {stars: {kind: classification}}
"""
WRITING = """
name: writes
tokenizer: {kind: character}
data:
  train: {tsv: pairs.tsv, columns: {text: one, target: other}}
  validation: {jsonl: pairs.jsonl, columns: {text: one, target: others}}
  max_length: 32
tasks: {write: {kind: seq2seq, metrics: [bleu, chrf, rougeL, exact_match], decode: {kind: greedy, max_new_tokens: 6}}}
"""


def sentence(draw: random.Random) -> tuple[str, str, str]:
    return draw.choice(COLOURS), draw.choice(ANIMALS), draw.choice(DEEDS)


def write_data(home: Path) -> None:
    draw = random.Random(1)
    with open(home / "reviews.jsonl", "w") as reviews, open(home / "names.conll", "w") as names, open(home / "pairs.csv", "w") as pairs:
        pairs.write("id,one,other,like\n")
        for number in range(60):
            colour, animal, deed = sentence(draw)
            record = {"id": f"r{number}", "body": f"the {colour} {animal} {deed} " * draw.choice((1, 1, 9)), "score": len(colour) / 2}
            topics = [name for name in ("fox", "jumps") if name in (animal, deed)]
            reviews.write(json.dumps(record | {"stars": "good" if animal in ("fox", "dog") else "bad", "topics": topics}) + "\n")
            kind = "warm" if colour == "red" else "cold"
            names.write(f"the O\n{colour} B-{kind}\n{animal} I-{kind}\n{deed} O\n\n")
            pairs.write(f"p{number},a {colour} {animal},the {animal} {deed},{number % 5}\n")
    quiz = [{"asked": "who jumps", "offered": list(draw.sample(ANIMALS, 2)), "right": number % 2} for number in range(30)]
    (home / "quiz.jsonl").write_text("".join(json.dumps(record) + "\n" for record in quiz))
    questions = []
    for number in range(30):
        colour, animal, deed = sentence(draw)
        context = f"the {colour} {animal} {deed} " * 9
        answers = [{"text": animal, "answer_start": context.index(animal)}] if number % 3 else []
        asked = {"id": f"q{number}", "question": f"who {deed}", "answers": answers, "is_impossible": not answers}
        questions.append({"context": context, "qas": [asked]})
    (home / "questions.json").write_text(json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": questions}]}))
    lines = [(" ".join(sentence(draw)), draw.choice(ANIMALS)) for _ in range(40)]
    (home / "pairs.tsv").write_text("one\tother\n" + "".join(f"{one}\t{other}\n" for one, other in lines[:30]))
    rows = [{"one": one, "others": [other, "a fox"]} for one, other in lines[30:]]
    (home / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("home")
    write_data(path)
    return path


def trained(home: Path, words: str, kind: str, name: str = "", code: int = 0) -> Path:
    """A run that hardly learned, from words without a model; training holds 200 documents, more than there are."""
    run = home / (name or kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        spec = home / f"{run.name}.yaml"
        spec.write_text(words + BODY.replace("KIND", kind) + TRAINING + "}\n")
        assert main(["train", str(spec), "--run-dir", str(run)]) == code
    return run


@pytest.fixture(scope="module")
def encoder(home: Path) -> Path:
    return trained(home, UNDERSTANDING, "encoder")


@pytest.fixture(scope="module")
def writer(home: Path) -> Path:
    return trained(home, WRITING, "encoder_decoder")


def test_every_batch_that_is_answered_while_training_is_a_sign_of_life_after_which_a_signal_is_heard(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def written(self: Writer, texts: Sequence[str]) -> list[str]:
        events.append("batch")
        if len(texts) == 32 and events.count("batch") == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return ["a fox"] * len(texts)

    sign = Patience.sign
    monkeypatch.setattr(Patience, "sign", lambda self: (events.append("sign"), sign(self))[1])
    monkeypatch.setattr(Writer, "__call__", written)
    (home / "many.jsonl").write_text(10 * (home / "pairs.jsonl").read_text())
    words = WRITING.replace("pairs.jsonl", "many.jsonl")
    trained(home, words, "encoder_decoder", "stopped", code=75)
    assert events.count("batch") == 2 and "validation" not in (home / "stopped" / "metrics.jsonl").read_text()
    trained(home, words, "encoder_decoder", "stopped")
    assert events.count("batch") == 2 + 2 * 4 and "batch batch" not in " ".join(events)
    assert (home / "stopped" / "metrics.jsonl").read_text().count('"validation"') == 2


Said = Callable[..., Any]


@pytest.fixture
def said(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What a verb writes as JSON; `code` is the exit code that it must have."""
    monkeypatch.chdir(home)

    def run(*arguments: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out)

    return run


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


Answers = list[dict[str, Any]]


def reference(name: str, answers: Answers) -> dict[str, float]:
    """By the names of the tasks of test_evaluate.py."""
    gold = [answer["gold"] for answer in answers]
    return {
        "stars": lambda: _classes(gold, [answer["label"] for answer in answers]),
        "long": lambda: {"accuracy": float(np.mean([answer["label"] == right for answer, right in zip(answers, gold, strict=True)]))},
        "topics": lambda: _sets(gold, [answer["labels"] for answer in answers]),
        "score": lambda: _numbers(gold, [answer["value"] for answer in answers]),
        "names": lambda: _tags(gold, [[word["label"] for word in answer["words"]] for answer in answers]),
        "qa": lambda: _questions(gold, [answer["answer"] for answer in answers]),
        "like": lambda: _vectors(gold, answers),
        "quiz": lambda: {"accuracy": float(np.mean([answer["place"] == right for answer, right in zip(answers, gold, strict=True)]))},
        "write": lambda: _texts(gold, [answer["text"] for answer in answers]),
    }[name]()


def _classes(gold: list[str], said: list[str]) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(gold, said),
        "f1": f1_score(gold, said, average="macro", zero_division=0),
        "matthews": matthews_corrcoef(gold, said),
    }


def _sets(gold: list[list[str]], said: list[list[str]]) -> dict[str, float]:
    both = MultiLabelBinarizer(classes=["fox", "jumps"])
    true, given = both.fit_transform(gold), both.transform(said)
    return {
        f"f1{name}": f1_score(true, given, average=average, zero_division=0) for name, average in (("", "macro"), ("_samples", "samples"))
    }


def _numbers(gold: list[float], said: list[float]) -> dict[str, float]:
    return {"pearson": pearsonr(gold, said)[0], "spearman": spearmanr(gold, said)[0], "mse": mean_squared_error(gold, said)}


def _tags(gold: list[list[str]], said: list[list[str]]) -> dict[str, float]:
    """Entities as seqeval reads BIO: I goes on with one of its type, and else begins one."""

    def entities(sentences: list[list[str]], kind: str) -> set[tuple[int, int, int]]:
        found, start = set(), -1
        for number, tags in enumerate(sentences):
            for place, (before, tag) in enumerate(zip(["O", *tags], [*tags, "O"], strict=True)):
                goes_on = tag.startswith("I-") and before[2:] == tag[2:]
                if before.endswith(kind) and not goes_on:
                    found.add((number, start, place))
                start = start if goes_on else place
        return found

    def f1(*kinds: str) -> float:
        true, given = ({(kind, *each) for kind in kinds for each in entities(side, kind)} for side in (gold, said))
        return 2 * len(true & given) / max(len(true) + len(given), 1)

    flat = [[tag for tags in side for tag in tags] for side in (gold, said)]
    return {"accuracy": accuracy_score(*flat), "f1": f1("warm", "cold"), "f1.warm": f1("warm"), "f1.cold": f1("cold")}


def _questions(gold: list[list[str]], said: list[str]) -> dict[str, float]:
    """One answer of one word, or none: F1 is exact match there, but for answers that hold that word."""

    def f1(right: list[str], text: str) -> float:
        if not right or not text:
            return float(bool(right) == bool(text))
        words = [word for word in text.lower().split() if word not in ("a", "an", "the")]
        same = min(words.count(right[0]), 1)
        return 2 * same / (len(words) + 1)

    pairs = list(zip(gold, said, strict=True))
    return {"exact_match": float(np.mean([f1(*pair) == 1 for pair in pairs])), "f1": float(np.mean([f1(*pair) for pair in pairs]))}


def _vectors(gold: list[float], answers: Answers) -> dict[str, float]:
    return {"spearman": spearmanr(gold, [answer["similarity"] for answer in answers])[0]}


def _texts(gold: list[list[str]], said: list[str]) -> dict[str, float]:
    references = [list(each) for each in zip(*gold, strict=True)]
    rouge = RougeScorer(["rougeL"], use_stemmer=True)
    return {
        "bleu": corpus_bleu(said, references, force=True).score,
        "chrf": corpus_chrf(said, references).score,
        "rougeL": float(np.mean([rouge.score_multi(right, text)["rougeL"].fmeasure for right, text in zip(gold, said, strict=True)])),
        "exact_match": float(np.mean([text in right for right, text in zip(gold, said, strict=True)])),
    }


@pytest.mark.parametrize("kind", ["encoder", "writer"])
def test_figures_are_those_of_the_libraries_for_the_answers_that_were_written(request: Any, home: Path, said: Said, kind: str) -> None:
    run = request.getfixturevalue(kind)
    found = said("evaluate", str(run), "--predictions", "answers.jsonl")
    rows = rows_of(home / "answers.jsonl")
    tasks = load(RunDirectory(run).resolved).spec.tasks
    for name in tasks:
        for figure, value in reference(name, [row[name] for row in rows if name in row]).items():
            assert found["figures"][f"{name}/{figure}"] == pytest.approx(value, abs=1e-12), (name, figure)
            low, high = found["intervals"][f"{name}/{figure}"]
            assert low <= high
    assert all(signature for signature in found["signatures"].values())


@pytest.mark.parametrize("kind", ["encoder", "writer"])
def test_evaluations_in_training_give_the_same_figures_and_they_can_be_watched(request: Any, said: Said, kind: str) -> None:
    run = request.getfixturevalue(kind)
    found = said("evaluate", str(run))
    (seen,) = [row for row in rows_of(run / "metrics.jsonl") if (row["step"], row["kind"]) == (found["step"], "validation")]
    seen = {name: value for name, value in seen.items() if name not in ("step", "kind", "seconds")}
    assert {name: found["figures"][name] for name in seen} == pytest.approx(seen, abs=1e-5)
    words = load(RunDirectory(run).resolved).spec
    told = {name for name in seen if not name.endswith(("/majority", "/unigram_entropy", "threshold")) and "/f1." not in name}
    assert told == set(words.monitors())
    silent = words.model_copy(update={"training": words.training.model_copy(update={"evaluate_documents": 0})})
    gone = {name for name in words.monitors() if name not in silent.monitors()}
    expected = {"write/bleu", "write/rougeL"} if kind == "writer" else {"qa/f1", "like/spearman", "long/f1_micro"}
    assert gone >= expected and not gone & {"stars/f1", "names/f1", "write/loss"}


def test_the_best_threshold_of_no_answer_is_found_in_training_and_stays_with_the_checkpoint(home: Path, said: Said) -> None:
    words = "name: qa\ntokenizer: {kind: wordpiece, vocab_size: 80}\ndata: {train: {squad: questions.json}, validation: {holdout: 50%}}\n"
    run = trained(home, words + "tasks: {qa: {kind: question_answering, no_answer_threshold: auto}}\n", "encoder", "doubts")
    found = said("evaluate", str(run))
    (seen,) = [row for row in rows_of(run / "metrics.jsonl") if (row["step"], row["kind"]) == (found["step"], "validation")]
    assert found["figures"]["qa/f1"] == pytest.approx(seen["qa/best_f1"]) and seen["qa/best_f1"] > seen["qa/f1"]
    assert "qa/best_f1" in load(RunDirectory(run).resolved).spec.monitors() and "qa/best_f1" not in found["figures"]


def test_a_file_for_answers_that_nobody_scores_is_refused(home: Path, said: Said) -> None:
    words = "name: lm\ntokenizer: {kind: character}\ndata: {train: {text: names.conll}, validation: {holdout: 30%}, max_length: 16}\n"
    run = trained(home, words + "tasks: {lm: causal_lm}\n", "decoder")
    (problem,) = said("evaluate", str(run), "--predictions", "none.jsonl", code=2)["problems"]
    assert (problem["key"], problem["what"]) == ("--predictions", "no task here is scored by answers: lm (causal_lm); leave it out")
    assert not (home / "none.jsonl").exists()


def test_another_file_is_scored_without_the_data_that_the_run_was_trained_on(home: Path, said: Said) -> None:
    (home / "away.jsonl").write_text((home / "reviews.jsonl").read_text())
    run = trained(home, AWAY, "encoder", "away")
    own = said("evaluate", str(run), "--data", "reviews.jsonl")["figures"]
    (home / "away.jsonl").unlink()
    assert said("evaluate", str(run), "--data", "reviews.jsonl")["figures"] == own


def test_a_file_for_validation_is_for_the_tasks_that_it_tells_of(home: Path, said: Said) -> None:
    words = UNDERSTANDING.replace("{holdout: 30%}", "{jsonl: reviews.jsonl, columns: {text: body, label: stars}}")
    run = trained(home, words, "encoder", "labelled")
    found = said("evaluate", str(run), "--predictions", "labelled.jsonl")["figures"]
    assert {name.split("/")[0] for name in found} == {"loss", "stars", "long"}
    assert {name for row in rows_of(home / "labelled.jsonl") for name in row} - {"id", "text"} == {"stars", "long"}


def test_another_file_is_scored_as_the_run_reads_its_own(encoder: Path, writer: Path, home: Path, said: Said) -> None:
    (home / "new.csv").write_text("one,others\nred fox,dog\nbrown owl,cat\n")
    found = said("evaluate", str(writer), "--data", "new.csv", "--predictions", "new.jsonl")
    assert [row["write"]["gold"] for row in rows_of(home / "new.jsonl")] == [["dog"], ["cat"]]
    assert found["figures"]["write/chrf"] == pytest.approx(
        corpus_chrf([row["write"]["text"] for row in rows_of(home / "new.jsonl")], [["dog", "cat"]]).score
    )


def test_a_trained_run_takes_other_ways_to_write_and_to_score_over(writer: Path, home: Path, said: Said) -> None:
    run = shutil.copytree(writer, home / "searching")
    words = ["tasks.write.decode={kind: beam, beams: 2, max_new_tokens: 3}", "tasks.write.metrics=[rouge1]"]
    assert main(["train", "encoder_decoder.yaml", "--run-dir", str(run), *words]) == 0
    found = said("evaluate", str(run), "--predictions", "searched.jsonl")
    assert {name for name in found["intervals"]} == {"write/rouge1"}
    assert all(len(row["write"]["text"]) <= 3 for row in rows_of(home / "searched.jsonl"))


def test_a_file_is_for_the_tasks_that_read_the_same_source(encoder: Path, home: Path, said: Said) -> None:
    found = said("evaluate", str(encoder), "--data", "questions.json", "--task", "qa")
    assert {name.split("/")[0] for name in found["figures"]} == {"loss", "qa"}
    found = said("evaluate", str(encoder), "--data", "reviews.jsonl")
    assert {name.split("/")[0] for name in found["figures"]} == {"loss", "stars", "long", "topics", "score"}
    assert {name.split("/")[0] for name in said("evaluate", str(encoder), "--task", "names")["figures"]} == {"loss", "names"}
    (problem,) = said("evaluate", str(encoder), "--task", "name", code=2)["problems"]
    assert problem["what"].startswith("is no task of this model; did you mean 'names'?")


def test_what_a_file_lacks_is_said_in_one_line(writer: Path, home: Path, said: Said) -> None:
    (home / "other.csv").write_text("one,answer\nred fox,dog\nbrown owl,cat\n")
    (problem,) = said("evaluate", str(writer), "--data", "other.csv", code=3)["problems"]
    assert problem["where"] == "other.csv"
    assert problem["what"] == "no field 'others' for the target; the fields are 'one', 'answer'; write --columns target=answer"
    found = said("evaluate", str(writer), "--data", "other.csv", "--columns", "target=answer")
    assert "write/bleu" in found["figures"]
    for columns, what in (("targt=answer", "unknown role targt; did you mean 'target'?"), ("target", "expected ROLE=FIELD,...")):
        (problem,) = said("evaluate", str(writer), "--data", "other.csv", "--columns", columns, code=2)["problems"]
        assert problem["what"].startswith(what)
    (problem,) = said("evaluate", str(writer), "--columns", "target=answer", code=2)["problems"]
    assert "add --data FILE" in problem["what"]


def test_a_label_that_the_model_does_not_know_is_named_with_its_place_and_those_it_knows() -> None:
    task, document = Classification(labels={"1": "good", "0": "bad"}), Document("x", label="2", file="new.csv", line=7)
    with pytest.raises(DataError, match=r'new.csv:7: tasks.stars.labels: label "2" is not one of 1, 0, good, bad'):
        right("stars", task, ("good", "bad"), document)
    assert right("stars", task, ("good", "bad"), Document("x", label="1")) == "good"
    with pytest.raises(DataError, match=r"new.csv:7: tasks.ner: the record has no tags to score answers by"):
        right("ner", TokenClassification(), ("O", "B-x"), document)


def test_vectors_to_be_scored_are_held_as_the_numbers_they_are() -> None:
    _, vectors = pairing(SentenceEmbedding())(None, {"vector": [0.5] * 384, "vector_pair": [0.25] * 384})
    assert [vector.nbytes for vector in vectors] == [4 * 384] * 2


def test_early_stopping_cannot_watch_entities_of_tags_that_spell_none(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(home)
    (home / "tags.conll").write_text("the DET\nfox NOUN\n\n" * 20)
    words = UNDERSTANDING.split("data:")[0] + "data: {train: {conll: tags.conll}, validation: {holdout: 20%}, max_length: 12}\n"
    words += "tasks: {pos: token_classification}\n" + BODY.replace("KIND", "encoder")
    (home / "pos.yaml").write_text(words + TRAINING + ", early_stopping: {monitor: pos/f1}}\n")
    assert main(["train", "pos.yaml", "--run-dir", "pos"]) == 2
    expected = "training.early_stopping.monitor: f1 is of entities, and the tags spell none (DET, NOUN, ...); write pos/accuracy"
    assert expected in capsys.readouterr().err
