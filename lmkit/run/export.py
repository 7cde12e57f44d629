"""`lmkit export`: a run's model as a folder that others open, proved by reading it again and comparing logits."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lmkit.checkpoints.files import require_outside
from lmkit.checkpoints.header import header_bytes
from lmkit.checkpoints.hub.facts import Facts, facts_of, read_facts
from lmkit.checkpoints.hub.folder import FORMATS, is_folder, read_config
from lmkit.checkpoints.hub.keras_hub.write import write_preset
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.checkpoints.manifest import require
from lmkit.checkpoints.tensors import Tensors
from lmkit.errors import CheckpointError, Problem, SpecError
from lmkit.layers.spec import Custom
from lmkit.models.spec import EncoderDecoder, FromRun
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.generator_alone import generator_alone
from lmkit.run.source import Source, source_of
from lmkit.spec_file.custom import layers_of
from lmkit.spec_file.tree import dotted
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    DirectPreference,
    Pooled,
    PrefixLm,
    Regression,
    ReplacedToken,
    Reward,
    Seq2seq,
    SpanCorruption,
)
from lmkit.text.export import huggingface_files, run_files
from lmkit.text.keras_hub import ASSETS, OBJECT, preset_tokenizer
from lmkit.text.tokenizer import Tokenizer

BESIDE = "custom"  # folder of what no foreign class says
GENERATOR = ".generator"  # behind a task's name


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
    if options.format not in FORMATS:
        raise SpecError(Problem(f"{options.format} is not written; lmkit writes {' and '.join(FORMATS)}", "--format", "command line"))
    source = source_of(run)
    if options.task is not None and options.task.endswith(GENERATOR):
        options = replace(options, task=options.task.removesuffix(GENERATOR))
        source = generator_alone(source, str(options.task))
    if options.task not in (None, *source.spec.tasks):
        what = f"the run has no task {options.task}; it has {', '.join(source.spec.tasks)}"
        raise SpecError(Problem(what, "--task", "command line"))
    source, heads = without_code(source)
    heads = {name: part for name, part in heads.items() if options.task in (None, name)}
    require_outside(dest, run)
    sided = isinstance(body_of(source.spec), EncoderDecoder)
    known = {name: known_abroad(task, sided=sided) for name, task in source.spec.tasks.items()}
    source = replace(source, spec=source.spec.model_copy(update={"tasks": known}))
    with console.quiet():
        from lmkit.run.model import shapes_of

    tokenizer = source.tokenizer()
    shapes = shapes_of(source.spec, vocab_size=tokenizer.vocab_size, labels=source.labels)
    tensors = source.weights(lambda: shapes, console.err).tensors
    facts = _facts(source, run, options.format, shapes)
    beside = beside_of(heads, tensors)
    outgoing = outgoing_of(source, facts, options, run, beside=beside)
    kept = {f"heads.{name}" for name in outgoing.tasks}
    wanted = {name for name in shapes if not name.startswith("heads.") or ".".join(name.split(".")[:2]) in kept}
    if isinstance(tensors, Tensors):
        stored = {name: one for name, one in tensors.stored.items() if name in wanted or not name.startswith("heads.")}
        require(stored, {name: np.broadcast_to(np.float32(0), shapes[name]) for name in wanted}, run, dtypes=False)
    written = {name: tensors[name] for name in tensors if name in wanted}
    if options.format == "keras_hub":
        name = write_preset(dest, outgoing, written, lambda body: _assets(tokenizer, body) | beside)
    else:
        name = write_folder(dest, outgoing, written)
    console.out(f"{dest}: {name}, {len(written)} variables")
    for head in heads:
        console.out(f"heads.{head} is code of your own: its weights and file are in {dest / BESIDE}, for who builds it again")
    if options.format == "keras_hub" and not (dest / OBJECT).exists():
        console.out(f"keras-hub has no tokenizer of this make; {ASSETS} has it as the tokenizers library reads it")
    if not options.verify:
        return 0
    with console.quiet():
        from lmkit.run.verify import verify
        from lmkit.run.verify_preset import verify_preset

    try:
        source = replace(source, spec=source.spec.model_copy(update={"tasks": outgoing.tasks}))
        for line in verify(source, written, dest, exact=options.dtype in (None, "float32"), console=console):
            console.out(line)
        if options.format == "keras_hub":
            for line in verify_preset(source, written, dest, exact=options.dtype is None):
                console.out(line)
    except BaseException:
        shutil.rmtree(dest, ignore_errors=True)
        raise
    return 0


def known_abroad(task: AnyTask, *, sided: bool) -> AnyTask:
    """The task by which other programs know this one's head: of dpo a language model's, of reward that of one number, of what
    learns to write beside an encoder (`sided`) that of seq2seq, and the discriminator of replaced_token alone."""
    if isinstance(task, SpanCorruption | PrefixLm) and sided:
        return Seq2seq(weight=task.weight, data=task.data)
    if isinstance(task, DirectPreference):
        return CausalLm(weight=task.weight, data=task.data)
    if isinstance(task, ReplacedToken):
        return task.model_copy(update={"generator": None})
    if isinstance(task, Reward):
        return Regression(**{key: getattr(task, key) for key in Pooled.model_fields})
    return task


def without_code(source: Source) -> tuple[Source, dict[str, Custom]]:
    """The source without the heads that are code, and those by task. Raises CheckpointError where the body is code too."""
    parts = layers_of(source.spec)
    for path in parts:
        if path[0] == "model":
            what = "is code of your own, which no foreign model can say"
            raise CheckpointError(Problem(what, dotted(path), str(source.path)))
    heads = {str(path[1]): part for path, part in parts.items()}
    tasks = {name: task for name, task in source.spec.tasks.items() if name not in heads}
    return replace(source, spec=source.spec.model_copy(update={"tasks": tasks})), heads


def beside_of(heads: Mapping[str, Custom], tensors: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    """What is written of heads that are code: their weights by canonical name, and their files."""
    found = {f"{BESIDE}/{Path(part.file).name}": Path(part.file).read_bytes() for part in heads.values()}
    for head in heads:
        own = {name: np.ascontiguousarray(tensors[name], np.float32) for name in sorted(tensors) if name.startswith(f"heads.{head}.")}
        header = header_bytes((name, "F32", value.shape) for name, value in own.items())
        found[f"{BESIDE}/{head}.safetensors"] = header + b"".join(value.tobytes() for value in own.values())
    return found


def _facts(source: Source, run: Path, of: str, shapes: Mapping[str, tuple[int, ...]]) -> Facts | None:
    """What is known of a folder of that format: of the source itself, or kept in the run, or in the run that it was trained from."""
    if source.imported is not None:
        return facts_of(source.imported, shapes) if source.imported.folder.format == of else None
    origin = _origin(source)
    return read_facts(run / of) or (read_facts(origin / of) if origin else None)


def _origin(source: Source) -> Path | None:
    """The run or folder that a run was trained from."""
    return Path(source.spec.model.from_) if isinstance(source.spec.model, FromRun) else None


def _dtype(source: Source, options: Options) -> str | None:
    """Weights that were trained further are no longer those of a folder, and are written in full unless that is said."""
    return options.dtype or (None if _origin(source) is None else "float32")


def _preferred(source: Source) -> str:
    """The family of the folder that a run was trained from, where that is still there."""
    origin = _origin(source)
    return str(read_config(origin).get("model_type", "")) if origin is not None and is_folder(origin) else ""


def _assets(tokenizer: Tokenizer, body: str) -> dict[str, bytes]:
    """A preset's tokenizer: exactly, as lmkit and the tokenizers library read it, and as keras-hub does where it can."""
    return {f"{ASSETS}/{name}": data for name, data in run_files(tokenizer).items()} | preset_tokenizer(tokenizer, body)


def outgoing_of(
    source: Source, facts: Facts | None, options: Options, run: Path, *, beside: Mapping[str, bytes] | None = None
) -> Outgoing:  # fmt: skip
    """What is written of a run: all its tasks, or the one that is asked for, and files `beside` them."""
    spec, tokenizer = source.spec, source.tokenizer()
    body = body_of(spec)
    both = next((name for name, task in spec.tasks.items() if isinstance(task, PrefixLm) and options.task in (None, name)), None)
    if both is not None:
        what = "reads the beginning of a text in both directions, which no class of decoders does outside; --task writes another task"
        raise CheckpointError(Problem(what, f"tasks.{both}", str(run)))
    tasks = {name: task for name, task in spec.tasks.items() if options.task in (None, name)}
    roles = {role: getattr(tokenizer, role) for role in ("bos", "eos", "pad")}
    length = source.imported.max_length if source.imported else spec.data.max_length
    files = huggingface_files(tokenizer, max_length=length, token_types=bool(body.token_types)) | dict(beside or {})
    if not tasks and not beside:
        raise CheckpointError(Problem("has no task", where=str(run)))
    labels = {name: names for name, names in source.labels.items() if name in tasks}
    return Outgoing(body, tasks, labels, tokenizer.vocab_size, length, roles, facts, _dtype(source, options), files, _preferred(source))
