"""Several texts of a record that could go with its first one, as columns of a cache."""

from collections.abc import Mapping, Sequence

import numpy as np

from lmkit.data.columns import ColumnWriter
from lmkit.text.tokenizer import Tokenizer

# Choice j is choice_tokens[choice_begin[j]:choice_begin[j + 1]]; record i has those from choice_documents[i] on.
COLUMNS: Mapping[str, type] = {"choice_begin": np.int64, "choice_documents": np.int64}


def add_choices(columns: Mapping[str, ColumnWriter], tokenizer: Tokenizer, choices: Sequence[Sequence[str]]) -> None:
    """Appends the choices of some records."""
    ids = tokenizer.encode([text for each in choices for text in each], specials=False)
    lengths = np.array([len(each) for each in ids], np.int64)
    columns["choice_documents"].append(columns["choice_begin"].count + np.cumsum([len(each) for each in choices], dtype=np.int64))
    columns["choice_begin"].append(columns["choice_tokens"].count + np.cumsum(lengths) - lengths)
    if ids:
        columns["choice_tokens"].append(np.concatenate(ids))
