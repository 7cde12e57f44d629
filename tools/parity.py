"""Fine-tunes by lmkit and by transformers and torch from equal weights on equal batches: `python tools/parity.py SPEC [key=value ...]`.

The spec names a model that it starts from and one task. `lmkit export` writes the weights that `lmkit train` starts from, new head
included, as a folder that transformers opens, and torch's AdamW trains it on the batches of lmkit with the same learning rates, decay and
clipping. Both train for `--steps` steps without dropout; prints both loss curves and exits with 1 where they differ by more than
`--tolerance`. With `--trained FOLDER` torch alone trains for all steps of the spec, with its dropout, and writes the folder, for
`lmkit evaluate`. A task kind is added in CLASSES and LOSSES.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from lmkit.cli import main as lmkit
from lmkit.data.batches import Batch, Batches
from lmkit.run.body import with_body
from lmkit.run.grid import total_steps
from lmkit.run.material import material, tokenizer_of
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.training.schedules import learning_rate
from lmkit.training.spec import AdamW

STILL = 1e-30  # a learning rate that moves nothing
CLASSES = {
    "classification": "AutoModelForSequenceClassification",
    "regression": "AutoModelForSequenceClassification",
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


def squared_errors(outputs: Any, batch: Mapping[str, Any], name: str) -> Any:
    """(logit - label)^2 [B], for logits [B, 1]."""
    return (outputs.logits[:, 0] - batch[f"{name}/labels"]) ** 2


def losses_of_spans(outputs: Any, batch: Mapping[str, Any], name: str) -> Any:
    """Mean of both ends' cross-entropies [B] over the real tokens of a row; transformers' own loss counts the padding in."""
    from torch.nn.functional import cross_entropy

    padding = batch["segments"] == 0
    ends = (outputs.start_logits.masked_fill(padding, -1e30), outputs.end_logits.masked_fill(padding, -1e30))
    first, last = (cross_entropy(end, batch[f"{name}/labels"][:, i], reduction="none") for i, end in enumerate(ends))
    return (first + last) / 2


LOSSES: dict[str, Callable[[Any, Mapping[str, Any], str], Any]] = dict.fromkeys(CLASSES, losses_by_label)
LOSSES |= {"regression": squared_errors, "question_answering": losses_of_spans}
STARTING = (
    "data.validation=null",
    "training.early_stopping=null",
    "training.evaluate_every=null",
    "logging.samples=[]",
)  # what torch lacks


@dataclass(frozen=True)
class Start:
    """What both begin with: the words, the batches, and the folder with the weights."""

    spec: RunSpec
    batches: Batches
    folder: Path

    @property
    def task(self) -> tuple[str, Any]:
        """The only task and its name."""
        ((name, task),) = self.spec.tasks.items()
        return name, task


def start_of(path: Path, words: Sequence[str], work: Path) -> Start:
    """Writes the folder in `work`, an empty one."""
    still = [f"training.optimizer.learning_rate={STILL}", "training.epochs=null", "training.tokens=null", "training.steps=1"]
    _run("train", str(path), "--run-dir", str(work / "begin"), *words, *still)
    _run("export", str(work / "begin"), str(work / "folder"))
    spec = with_body(load(path, words).spec)
    tokenizer = tokenizer_of(spec, say=_quiet, stop=lambda: False)
    stuff = material(spec, tokenizer=tokenizer, cache=work / ".cache", say=_quiet, stop=lambda: False)
    return Start(spec, stuff.batches, work / "folder")


def opened(start: Start) -> Any:
    """The folder's model, whose head has the dropout of the task, if it says one."""
    import torch
    import transformers

    _, task = start.task
    model = getattr(transformers, CLASSES[task.kind]).from_pretrained(start.folder, dtype=torch.float32)
    for name, module in model.named_modules() if hasattr(task, "dropout") else ():
        if isinstance(module, torch.nn.Dropout) and not name.startswith(f"{model.base_model_prefix}."):
            module.p = task.dropout
    return model


def losses_of(model: Any, start: Start) -> Iterator[float]:
    """Trains the model; the loss of each step, before its update."""
    import torch

    name, task = start.task
    optimizer = start.spec.training.optimizer
    assert isinstance(optimizer, AdamW) and optimizer.layer_decay == 1, "torch goes along with adamw, without layer_decay"
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if (p.ndim > 1) == decayed], "weight_decay": optimizer.weight_decay * decayed}
        for decayed in (True, False)
    ]
    stepper = torch.optim.AdamW(groups, lr=0.0, betas=(optimizer.beta1, optimizer.beta2), eps=optimizer.epsilon)
    steps = total_steps(start.spec, start.batches)
    for step in range(1, steps + 1):
        batch = start.batches.train(step - 1)
        tensors = {key: torch.tensor(value, dtype=torch.long if value.dtype.kind in "iu" else None) for key, value in batch.items()}
        given = {key: torch.tensor(value, dtype=torch.long) for key, value in inputs_of(batch, task.kind).items()}
        weights = tensors[f"{name}/weights"]
        loss = (LOSSES[task.kind](model(**given), tensors, name) * weights).sum() / weights.sum()
        stepper.zero_grad()
        loss.backward()
        if optimizer.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, optimizer.clip_norm)
        for group in stepper.param_groups:
            group["lr"] = learning_rate(optimizer.learning_rate, step, steps)
        stepper.step()
        yield float(loss.detach())


def curves(path: Path, overrides: Sequence[str], steps: int, work: Path) -> tuple[list[float], list[float]]:
    """The losses of lmkit and of torch without dropout, one for each step; `work` is an empty folder."""
    ((name, task),) = load(path, list(overrides)).spec.tasks.items()
    words = [*overrides, *STARTING, "model.dropout=0", *([f"tasks.{name}.dropout=0"] if hasattr(task, "dropout") else [])]
    words += ["training.precision=float32", "logging.every=1", "training.epochs=null", "training.tokens=null", f"training.steps={steps}"]
    start = start_of(path, words, work)
    _run("train", str(path), "--run-dir", str(work / "trained"), *words)
    lines = [json.loads(line) for line in (work / "trained" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"], list(losses_of(opened(start).eval(), start))


def trained(path: Path, overrides: Sequence[str], dest: Path, work: Path) -> list[float]:
    """The losses of torch alone, with the dropout of the spec; writes its model to `dest` with the tokenizer that it started with."""
    import torch

    start = start_of(path, [*overrides, *STARTING], work)
    torch.manual_seed(start.spec.seed)
    model = opened(start).train()
    losses = []
    for loss in losses_of(model, start):
        losses.append(loss)
        if len(losses) % start.spec.logging.every == 0:
            print(f"step {len(losses)}: loss {loss:.4f}", file=sys.stderr)
    model.save_pretrained(dest)
    for file in start.folder.iterdir():
        if not (dest / file.name).exists():
            shutil.copy(file, dest / file.name)
    return losses


def _run(*arguments: str) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        code = lmkit(list(arguments))
    if code:
        raise SystemExit(code)


def _quiet(_: str) -> None:
    return None


def compared(mine: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    """Prints two curves; whether they differ by no more than the tolerance."""
    difference, steps = np.abs(np.subtract(mine, other)), len(mine)
    print(f"{'step':>5} {'lmkit':>10} {'torch':>10} {'difference':>11}")
    for step in sorted({1, steps, int(difference.argmax()) + 1, *range(10, steps, 10)}):
        print(f"{step:>5} {mine[step - 1]:>10.6f} {other[step - 1]:>10.6f} {difference[step - 1]:>11.1e}")
    good = bool(difference.max() <= tolerance)
    print(f"largest difference over {steps} steps: {difference.max():.1e}, {'within' if good else 'MORE THAN'} {tolerance:g}")
    return good


def main() -> int:
    """Prints the curves, or trains a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--json", type=Path, help="a file for both curves")
    parser.add_argument("--trained", type=Path, metavar="FOLDER", help="what torch alone makes of the whole spec")
    given = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.trained is not None:
            began = time.monotonic()
            losses = trained(given.spec, given.overrides, given.trained, Path(folder))
            print(f"{given.trained}: {len(losses)} steps, last loss {losses[-1]:.4f}, {time.monotonic() - began:.0f} s")
            return 0
        mine, other = curves(given.spec, given.overrides, given.steps, Path(folder))
    if given.json is not None:
        given.json.write_text(json.dumps({"lmkit": mine, "torch": other}), encoding="utf-8")
    return 0 if compared(mine, other, given.tolerance) else 1


if __name__ == "__main__":
    sys.exit(main())
