"""Made data and a spec for each kind of body, with every task that it may learn; run as a script, it trains the specs on two devices,
one of them as on a TPU."""

import json
import random
import sys
from pathlib import Path

from lmkit.cli import main

ANIMALS, COLOURS, DEEDS = ("fox", "dog", "cat", "owl"), ("red", "brown", "grey"), ("jumps", "sleeps", "runs")
SPEC = """
name: {body}
tokenizer: {{kind: wordpiece, vocab_size: 90, lowercase: true}}
data: {{train: {sources}, validation: {{holdout: 20%}}, max_length: 32, buckets: 1{more}}}
model: {{kind: {body}, num_layers: 1, hidden_size: 16, num_heads: 2, dropout: 0.1}}
tasks: {tasks}
training:
  steps: 16
  batch_size: 8
  evaluate_every: 8 steps
  evaluate_documents: 0
  precision: float32
  optimizer: {{kind: sgd, learning_rate: {{kind: constant, peak: 0.1}}}}
logging: {{every: 1}}
"""
SOURCES = {
    "stars": "{jsonl: stars.jsonl, columns: {text: body, label: stars, value: score}}",
    "tags": "{jsonl: tags.jsonl, columns: {words: words, tags: tags}}",
    "questions": "{jsonl: questions.jsonl, columns: {text: question, text_pair: context, answers: answers}}",
    "pairs": "{jsonl: pairs.jsonl, columns: {text: one, text_pair: other}}",
    "choices": "{jsonl: choices.jsonl, columns: {text: one, choices: all, label: right}}",
    "better": "{jsonl: better.jsonl, columns: {prompt: one, chosen: good, rejected: bad}}",
    "writing": "{jsonl: writing.jsonl, columns: {text: one, target: other}}",
    "texts": "{text: texts.txt, document: line}",
}
TWO = ("runtime.strategy=mirrored", "runtime.replicas=2")
AS_TPU, TPU = "decoder", ("runtime.strategy=tpu", "runtime.tpu=two-processors")
BODIES = {
    "encoder": {
        "stars": "{kind: classification, data: stars, class_weights: balanced}",
        "score": "{kind: regression, data: stars}",
        "tags": "{kind: token_classification, data: tags}",
        "qa": "{kind: question_answering, data: questions, stride: 4}",
        "near": "{kind: sentence_embedding, data: pairs, negatives: 4}",
        "right": "{kind: multiple_choice, data: choices}",
        "real": "{kind: replaced_token, data: texts, generator: {hidden_size: 0.5}}",
    },
    "decoder": {
        "prefer": "{kind: dpo, data: better}",
        "reward": "{kind: reward, data: better}",
        "rest": "{kind: prefix_lm, data: texts}",
    },
    "encoder_decoder": {
        "write": "{kind: seq2seq, data: writing, decode: {kind: greedy, max_new_tokens: 6}}",
        "hidden": "{kind: span_corruption, data: texts}",
    },
}  # fmt: skip


def write_data(home: Path) -> None:
    """The files of SOURCES and the spec of each of BODIES."""
    draw = random.Random(1)
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in SOURCES if name != "texts"}
    texts = []
    for number in range(60):
        colour, animal, deed = draw.choice(COLOURS), draw.choice(ANIMALS), draw.choice(DEEDS)
        one, other = f"the {colour} {animal} {deed}", f"a {animal} that {deed}"
        context = f"{one} " * (1 + number % 9)
        found = [{"text": animal, "answer_start": context.rindex(animal)}] if number % 3 else []
        among = draw.sample(ANIMALS, 3)
        rows["stars"].append({"body": context, "stars": "good" if animal == "fox" else "bad", "score": len(colour) / 2})
        rows["tags"].append({"words": one.split(), "tags": ["O", f"B-{colour}", f"I-{colour}", "O"]})
        rows["questions"].append({"question": f"who {deed}", "context": context, "answers": found})
        rows["pairs"].append({"one": one, "other": other})
        rows["choices"].append({"one": one, "all": among[: 2 + number % 2], "right": number % 2})
        rows["better"].append({"one": f"who {deed}", "good": one, "bad": draw.choice(DEEDS)})
        rows["writing"].append({"one": one, "other": other})
        texts.append(f"{context}and {other}\n")
    for name, records in rows.items():
        (home / f"{name}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (home / "texts.txt").write_text("".join(texts))
    for body, tasks in BODIES.items():
        read = {name: SOURCES[name] for name in SOURCES if any(f"data: {name}" in words for words in tasks.values())}
        sources, learned = ("{" + ", ".join(f"{name}: {words}" for name, words in each.items()) + "}" for each in (read, tasks))
        more = ", chat_template: plain" if "better" in read else ""
        (home / f"{body}.yaml").write_text(SPEC.format(body=body, sources=sources, tasks=learned, more=more))


def as_tpu() -> None:
    """Puts two logical devices in the place of a TPU: all but its own strategy and compiler is what a TPU would run."""
    import tensorflow as tf

    from lmkit.engine import devices, tpu

    def connect(name: str) -> tf.distribute.Strategy:
        devices.configure(replicas=2)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    tpu.connect = connect


if __name__ == "__main__":
    body, home = sys.argv[1:]
    if body == AS_TPU:
        as_tpu()
    sys.exit(main(["train", f"{body}.yaml", "--run-dir", home, *(TPU if body == AS_TPU else TWO)]))
