"""The documents that were held out of a source, read from it again: a cache knows their places, not their texts."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from lmkit.data.document import Document
from lmkit.data.documents import Documents

Place = tuple[str, int]  # file and line


def held_documents(documents: Iterable[Document], held: Documents) -> Iterator[Document]:
    """Those of a source's documents, in its order, that `held` has of its cache.

    Where several stand on one line they are told apart by their order; blank ones, which no cache has, are nobody's.
    """
    wanted = {place: set(numbers) for place, numbers in _numbered(held).items()}
    told = (document for document in documents if document.text.strip())
    for place, there in groupby(told, lambda document: (document.file, document.line)):
        numbers = wanted.get(place, ())
        yield from (document for number, document in enumerate(there) if number in numbers)


def _numbered(held: Documents) -> dict[Place, list[int]]:
    """For each place its held documents, by their number among all that stand there."""
    cache = held.cache
    if cache.file is None or cache.line is None:
        return {}
    moved = (np.diff(cache.file) != 0) | (np.diff(cache.line) != 0)
    first = np.maximum.accumulate(np.where(np.append(True, moved), np.arange(len(cache)), 0))
    found: dict[Place, list[int]] = {}
    for number in held.number.tolist():
        place = cache.files[cache.file[number]], int(cache.line[number])
        found.setdefault(place, []).append(number - int(first[number]))
    return found
