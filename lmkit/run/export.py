"""`lmkit export`: a run's model as a folder that others open, proved by reading it again and comparing logits."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from lmkit.checkpoints.hub.facts import Facts, facts_of, read_facts
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.models.spec import FromRun
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.import_ import FACTS
from lmkit.run.source import Source, source_of
from lmkit.text.export import huggingface_files


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    format: str = "huggingface"
    verify: bool = False
    dtype: str | None = None
    task: str | None = None


def export(run: Path, dest: Path, *, options: Options, console: Console) -> int:
    """Writes `dest`; with `verify` it is kept only if it opens with the same logits.

    Raises CheckpointError where no foreign family can say what the model is or the logits differ, MachineError for the disk.
    """
    if options.format != "huggingface":
        raise SpecError(Problem(f"{options.format} is not written; lmkit writes huggingface", "--format", "command line"))
    source = source_of(run)
    with console.quiet():
        from lmkit.run.model import shapes_of

    tokenizer = source.tokenizer()
    shapes = shapes_of(source.spec, vocab_size=tokenizer.vocab_size, labels=source.labels)
    tensors, _ = source.weights(lambda: shapes, console.err)
    facts = facts_of(source.imported, shapes) if source.imported else _facts(source, run)
    outgoing = outgoing_of(source, facts, options, run)
    kept = {f"heads.{name}" for name in outgoing.tasks}
    written = {name: tensors[name] for name in tensors if not name.startswith("heads.") or ".".join(name.split(".")[:2]) in kept}
    name = write_folder(dest, outgoing, written)
    console.out(f"{dest}: {name}, {len(written)} variables")
    if not options.verify:
        return 0
    with console.quiet():
        from lmkit.run.verify import verify

    try:
        for line in verify(source, written, dest, exact=options.dtype is None, console=console):
            console.out(line)
    except BaseException:
        shutil.rmtree(dest, ignore_errors=True)
        raise
    return 0


def _facts(source: Source, run: Path) -> Facts | None:
    """Those that the run keeps, or the run or folder that it was trained from."""
    facts = read_facts(run / FACTS)
    if facts is None and isinstance(source.spec.model, FromRun):
        facts = read_facts(Path(source.spec.model.from_) / FACTS)
    return facts


def outgoing_of(source: Source, facts: Facts | None, options: Options, run: Path) -> Outgoing:
    """What is written of a run: all its tasks, or the one that is asked for."""
    spec, tokenizer = source.spec, source.tokenizer()
    if options.task is not None and options.task not in spec.tasks:
        what = f"the run has no task {options.task}; it has {', '.join(spec.tasks)}"
        raise SpecError(Problem(what, "--task", "command line"))
    body = body_of(spec)
    tasks = {name: task for name, task in spec.tasks.items() if options.task in (None, name)}
    roles = {role: getattr(tokenizer, role) for role in ("bos", "eos", "pad")}
    length = source.imported.max_length if source.imported else spec.data.max_length
    files = huggingface_files(tokenizer, max_length=length, token_types=bool(body.token_types))
    if not tasks:
        raise CheckpointError(Problem("has no task", where=str(run)))
    labels = {name: names for name, names in source.labels.items() if name in tasks}
    return Outgoing(body, tasks, labels, tokenizer.vocab_size, length, roles, facts, options.dtype, files)
