"""`lmkit import`: makes a run of a foreign folder, which every other verb opens and whose export gives the folder again."""

from pathlib import Path

from lmkit.checkpoints import own
from lmkit.checkpoints.files import Disk, new_folder, require_outside, write_file
from lmkit.checkpoints.hub.facts import facts_of
from lmkit.checkpoints.hub.generation import read_habits
from lmkit.checkpoints.tensors import in_dtype
from lmkit.run.body import body_of
from lmkit.run.console import Console
from lmkit.run.directory import RunDirectory, require_space
from lmkit.run.source import foreign_source
from lmkit.spec_file.load import resolved_text
from lmkit.tasks.spec import CausalLm, Seq2seq
from lmkit.text.export import run_files


def import_(folder: Path, dest: Path, *, console: Console, dtype: str = "float32") -> int:
    """Reads `folder` and writes the run `dest`, which appears when it is whole and keeps what its words do not say of the folder.

    The run holds the weights in `dtype`, each as in the folder where that is `stored`. Raises CheckpointError for anything
    wrong with the folder, how it writes included, MachineError where `dest` is taken or the disk refuses.
    """
    source = foreign_source(folder)
    require_outside(dest, folder)
    imported = source.imported
    assert imported is not None
    tokenizer = source.tokenizer()
    if any(isinstance(task, CausalLm | Seq2seq) for task in source.spec.tasks.values()) and (habits := read_habits(folder)):
        habits.require(tokenizer.vocab_size, beside_encoder=body_of(source.spec).kind == "encoder_decoder")
    with console.quiet():
        from lmkit.run.model import shapes_of

    shapes = shapes_of(source.spec, vocab_size=imported.vocab_size, labels=source.labels)
    stored = imported.tensors(shapes).items()
    tensors = {name: value if dtype == "stored" else in_dtype(value, dtype, name) for name, value in stored}
    with new_folder(dest, "the model is not imported") as temporary:
        require_space(temporary, sum(value.nbytes for value in tensors.values()), "the weights")
        run = RunDirectory(temporary)
        facts_of(imported, shapes).write(run.path / imported.folder.format)
        _write(run, run_files(tokenizer), resolved_text(source.spec))
        run.note(labels={name: list(names) for name, names in source.labels.items()} or None)
        own.save(run.checkpoints, 0, model=tensors, optimizer={}, state={}, facts={"imported": str(folder.absolute())})
        Disk().sync(temporary)
    count = sum(value.size for value in tensors.values())
    kinds = ", ".join(f"{name} ({task.kind})" for name, task in source.spec.tasks.items())
    console.out(f"{dest}: {imported.family.model_type} with {count:,} parameters; tasks: {kinds}")
    return 0


def _write(run: RunDirectory, files: dict[str, bytes], words: str) -> None:
    for name, data in files.items():
        (run.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_file(run.path / name, data)
    write_file(run.spec, words)
    write_file(run.resolved, words)
