"""Rows of Apache Parquet tables."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lmkit.data.files import Stop
from lmkit.data.records import check_columns
from lmkit.errors import DataError, Interrupted, Problem


def read_parquet(path: Path, *, needed: Sequence[str], whole: bool = False, stop: Stop) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number from 1, values by column) of the columns that are needed, or of all."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as table:
            check_columns(needed, table.schema_arrow.names, str(path))
            for batch in table.iter_batches(batch_size=1024, columns=None if whole else list(dict.fromkeys(needed))):
                if stop():
                    raise Interrupted("stopped while reading the data; nothing is lost")
                for record in batch.to_pylist():
                    number += 1
                    yield number, record
            if number != table.metadata.num_rows:
                raise ValueError(f"its groups hold {number} rows, its end tells of {table.metadata.num_rows}")
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise DataError(Problem(f"is no whole Parquet file: {str(error).splitlines()[0][:160]}", where=str(path))) from None
