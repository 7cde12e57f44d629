"""Makes data of one kind out of another's: `python tools/derive_data.py WHAT FROM DEST`, FROM and DEST being folders.

gutenberg-next: books (FROM/{train,valid,test}/*.txt) become passages, each with four that could go on with it: the one that does, and three
    from elsewhere in the book.
wnut17-names: sentences with tagged words (FROM/{train,dev,test}.conll) become texts with the types of the names in them.

Each part of the source becomes DEST/PART.jsonl. The same files give the same rows.
"""

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmkit.data.sources import read
from lmkit.data.spec import Conll
from lmkit.errors import LmkitError
from lmkit.text.sentences import split_sentences

WORDS = 20  # a passage has so many, and the rest of its last sentence
CHOICES = 4
ROWS = {"train": 8000, "valid": 1000, "test": 1000}

Rows = dict[str, list[dict[str, Any]]]


def passages(book: str) -> Iterator[str]:
    """The book in runs of whole sentences, each as short as WORDS allows."""
    run: list[str] = []
    for sentence in split_sentences(book, "rules"):
        run += sentence.split()
        if len(run) >= WORDS:
            yield " ".join(run)
            run = []


def continuations(book: str, chance: random.Random) -> Iterator[dict[str, Any]]:
    """A row for every second passage, whose choices are the next one and others of the book."""
    found = list(passages(book))
    for i in range(0, len(found) - 1 if len(found) > CHOICES else 0, 2):
        others = [j for j in chance.sample(range(len(found)), CHOICES + 1) if j not in (i, i + 1)][: CHOICES - 1]
        label = chance.randrange(CHOICES)
        choices = [found[j] for j in [*others[:label], i + 1, *others[label:]]]
        yield {"text": found[i], "choices": choices, "label": label}


def gutenberg_next(source: Path) -> Rows:
    """Up to ROWS of each part, drawn from all of its books."""
    chance = random.Random(0)
    rows = {}
    for part, most in ROWS.items():
        books = [path.read_text(encoding="utf-8") for path in sorted((source / part).glob("*.txt"))]
        every = [row for book in books for row in continuations(book, chance)]
        rows[part] = chance.sample(every, min(most, len(every)))
    return rows


def wnut17_names(source: Path) -> Rows:
    """Every sentence, with the types of its names in alphabetical order."""
    return {
        part: [
            {"text": sentence.text, "labels": sorted({tag.split("-", 1)[1] for tag in sentence.tags or () if tag != "O"})}
            for sentence in read(Conll(conll=(str(source / f"{part}.conll"),)))
        ]
        for part in ("train", "dev", "test")
    }


DERIVED = {"gutenberg-next": gutenberg_next, "wnut17-names": wnut17_names}


def main() -> int:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=DERIVED)
    parser.add_argument("source", type=Path, metavar="FROM")
    parser.add_argument("dest", type=Path)
    given = parser.parse_args()
    try:
        rows = DERIVED[given.what](given.source)
    except LmkitError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    given.dest.mkdir(parents=True, exist_ok=True)
    for part, found in rows.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (given.dest / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{given.dest / part}.jsonl: {len(found):,} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
