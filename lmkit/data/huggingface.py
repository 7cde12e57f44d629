"""Rows of a data set of the `datasets` library, by hub id or local folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lmkit.data.files import Stop
from lmkit.data.records import check_columns
from lmkit.errors import DataError, Interrupted, MachineError, Problem


def load_huggingface(name: str, *, config: str | None, split: str, base: Path) -> Any:
    """The data set, its code never run; raises MachineError where the library is absent and DataError where the data is."""
    try:
        import datasets
    except ImportError:
        raise MachineError(Problem('needs the datasets library: pip install "lmkit[datasets]"', where=name)) from None
    folder = base / Path(name).expanduser()
    if name.startswith((".", "/", "~")) and not folder.is_dir():
        raise DataError(Problem("no such folder", where=name))
    try:
        if (folder / "state.json").is_file():
            return datasets.load_from_disk(str(folder))
        if (folder / "dataset_dict.json").is_file():
            return datasets.load_from_disk(str(folder))[split]
        return datasets.load_dataset(str(folder) if folder.is_dir() else name, name=config, split=split)
    except Exception as error:
        raise DataError(Problem(f"cannot be loaded: {(str(error).splitlines() or [type(error).__name__])[0][:200]}", where=name)) from None


def read_huggingface(table: Any, name: str, *, needed: Sequence[str], stop: Stop) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 1, values by column); class numbers become their names, and -1 (no label) is refused."""
    check_columns(needed, table.column_names, name)
    names = {column: table.features[column].names for column in needed if type(table.features[column]).__name__ == "ClassLabel"}
    for number, record in enumerate(table.select_columns(list(dict.fromkeys(needed))), 1):
        if number % 1024 == 0 and stop():
            raise Interrupted("stopped while reading the data; nothing is lost")
        for column, labels in names.items():
            value = record[column]
            if value is None or not 0 <= value < len(labels):
                raise DataError(Problem(f"{value} is no label (-1 means unlabelled); choose a labelled split", column, f"{name}:{number}"))
            record[column] = labels[value]
        yield number, record
