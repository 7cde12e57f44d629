"""Fine-tunes by lmkit and by transformers and torch from equal weights on equal batches: `python tools/parity.py SPEC [key=value ...]`.

The spec names a model that it starts from and one task. `lmkit train` trains it for `--steps` steps without dropout; `lmkit export` writes
the weights that it started from, new head included, as a folder that transformers opens, and torch's AdamW goes the same steps on the
batches of lmkit with the same learning rates, decay and clipping. Prints both loss curves and exits with 1 where they differ by more than
`--tolerance`. A task kind is added in INPUTS and LOSSES.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from lmkit.cli import main as lmkit
from lmkit.data.batches import Batch
from lmkit.run.body import with_body
from lmkit.run.material import material, tokenizer_of
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.training.schedules import learning_rate
from lmkit.training.spec import AdamW

STILL = 1e-30  # a learning rate that moves nothing
CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
    "question_answering": "AutoModelForQuestionAnswering",
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}


def inputs_of(batch: Batch, kind: str) -> dict[str, np.ndarray]:
    """What transformers' models are called with. Rows hold one segment each."""
    if batch["segments"].max() > 1:
        raise SystemExit("rows hold several texts; write data.packing=false")
    inputs = {"input_ids": batch["tokens"], "attention_mask": batch["segments"]}
    if "decoder/tokens" in batch:
        return inputs | {"decoder_input_ids": batch["decoder/tokens"], "decoder_attention_mask": batch["decoder/segments"]}
    return inputs if kind == "causal_lm" else inputs | {"token_type_ids": batch["token_types"]}


def losses_by_label(outputs: Any, batch: Mapping[str, Any], name: str) -> Any:
    """Cross-entropy of each label [labels], for logits [..., V] and labels [...]."""
    from torch.nn.functional import cross_entropy

    labels = batch[f"{name}/labels"]
    return cross_entropy(outputs.logits.reshape(-1, outputs.logits.shape[-1]), labels.reshape(-1), reduction="none").reshape(labels.shape)


def losses_of_spans(outputs: Any, batch: Mapping[str, Any], name: str) -> Any:
    """Mean of both ends' cross-entropies [B] over the real tokens of a row; transformers' own loss counts the padding in."""
    from torch.nn.functional import cross_entropy

    padding = batch["segments"] == 0
    ends = (outputs.start_logits.masked_fill(padding, -1e30), outputs.end_logits.masked_fill(padding, -1e30))
    first, last = (cross_entropy(end, batch[f"{name}/labels"][:, i], reduction="none") for i, end in enumerate(ends))
    return (first + last) / 2


LOSSES: dict[str, Callable[[Any, Mapping[str, Any], str], Any]] = dict.fromkeys(CLASSES, losses_by_label)
LOSSES["question_answering"] = losses_of_spans


def theirs(folder: Path, spec: RunSpec, batches: Sequence[Batch]) -> list[float]:
    """The loss of each step by torch, before its update."""
    import torch
    import transformers

    ((name, task),) = spec.tasks.items()
    optimizer = spec.training.optimizer
    assert isinstance(optimizer, AdamW) and optimizer.layer_decay == 1, "torch goes along with adamw, without layer_decay"
    model = getattr(transformers, CLASSES[task.kind]).from_pretrained(folder, dtype=torch.float32).eval()  # eval: no dropout
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if (p.ndim > 1) == decayed], "weight_decay": optimizer.weight_decay * decayed}
        for decayed in (True, False)
    ]
    stepper = torch.optim.AdamW(groups, lr=0.0, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon)
    losses = []
    for step, batch in enumerate(batches, 1):
        tensors = {key: torch.tensor(value, dtype=torch.long if value.dtype.kind in "iu" else None) for key, value in batch.items()}
        given = {key: torch.tensor(value, dtype=torch.long) for key, value in inputs_of(batch, task.kind).items()}
        weights = tensors[f"{name}/weights"]
        loss = (LOSSES[task.kind](model(**given), tensors, name) * weights).sum() / weights.sum()
        stepper.zero_grad()
        loss.backward()
        if optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.clip_norm)
        for group in stepper.param_groups:
            group["lr"] = learning_rate(optimizer.learning_rate, step, len(batches))
        stepper.step()
        losses.append(float(loss.detach()))
    return losses


def curves(path: Path, overrides: Sequence[str], steps: int, work: Path) -> tuple[list[float], list[float]]:
    """The losses of lmkit and of torch, one for each step; `work` is an empty folder."""
    ((name, task),) = load(path, list(overrides)).spec.tasks.items()
    words = [*overrides, "model.dropout=0", "training.epochs=null", "training.tokens=null", "training.precision=float32"]
    words += [f"tasks.{name}.dropout=0"] if hasattr(task, "dropout") else []
    words += [
        "training.evaluate_every=null",
        "training.early_stopping=null",
        "data.validation=null",
        "logging.every=1",
        "logging.samples=[]",
    ]
    begin, folder, trained = work / "begin", work / "folder", work / "trained"
    still = [f"training.optimizer.learning_rate={STILL}", "training.steps=1"]
    _run("train", str(path), "--run-dir", str(begin), *words, *still)
    _run("export", str(begin), str(folder))
    words.append(f"training.steps={steps}")
    _run("train", str(path), "--run-dir", str(trained), *words)
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    spec = with_body(load(path, words).spec)
    tokenizer = tokenizer_of(spec, say=_quiet, stop=lambda: False)
    batches = material(spec, tokenizer=tokenizer, cache=work / ".cache", say=_quiet, stop=lambda: False).batches
    return [line["loss"] for line in lines if line["kind"] == "train"], theirs(folder, spec, [batches.train(i) for i in range(steps)])


def _run(*arguments: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        code = lmkit(list(arguments))
    if code:
        raise SystemExit(code)


def _quiet(_: str) -> None:
    return None


def main() -> int:
    """Prints the curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--json", type=Path, help="a file for both curves")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mine, other = curves(given.spec, given.overrides, given.steps, Path(folder))
    difference = np.abs(np.subtract(mine, other))
    print(f"{'step':>5} {'lmkit':>10} {'torch':>10} {'difference':>11}")
    for step in sorted({1, given.steps, int(difference.argmax()) + 1, *range(10, given.steps, 10)}):
        print(f"{step:>5} {mine[step - 1]:>10.6f} {other[step - 1]:>10.6f} {difference[step - 1]:>11.1e}")
    if given.json is not None:
        given.json.write_text(json.dumps({"lmkit": mine, "torch": other}), encoding="utf-8")
    good = bool(difference.max() <= given.tolerance)
    print(f"largest difference over {given.steps} steps: {difference.max():.1e}, {'within' if good else 'MORE THAN'} {given.tolerance:g}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
