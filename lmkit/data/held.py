"""The documents of a cache, read from their source again: a cache knows which they are, not their texts."""

from collections.abc import Iterable, Iterator

from lmkit.data.document import Document, numbered
from lmkit.data.documents import Documents


def held_documents(documents: Iterable[Document], held: Documents) -> Iterator[Document]:
    """Those of a source's documents, in its order, that `held` has of its cache; what the cache left out is nobody's."""
    assert held.cache.ordinal is not None
    wanted = set(held.cache.ordinal[held.number].tolist())
    return (document for number, document in numbered(documents) if number in wanted)
