"""Fast encoding of running text: each blank-delimited word is tokenized once and remembered.

Text is cut before every run of white space. Where the pre-tokenizer itself cuts there, encoding the parts and joining the ids
equals encoding the whole, and since words repeat, a table answers for nearly all of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

# Unicode White_Space as the tokenizers library knows it; Python's \s also has U+001C..U+001F. U+0085 is a blank to GPT-2's words
# and nothing at all to BERT's, so no cut is made before it inside a word, nor after it.
SPACE = "\t-\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
EITHER = "\x85"
UNIT = re.compile(f"[{SPACE}{EITHER}]*[^{SPACE}]*[^{SPACE}{EITHER}]|[{SPACE}{EITHER}]+")
SEAM = re.compile(f"(?<=[^{SPACE}{EITHER}])[{SPACE}]")
FULL = 2**21  # ids remembered before the table starts over: about 0.2 GB with its keys


def cut(text: str, size: int) -> Iterator[str]:
    """Parts of about `size` characters or more, cut before white space only; their concatenation is `text`."""
    start = 0
    while len(text) - start > size:
        seam = SEAM.search(text, start + size)
        if seam is None:
            break
        yield text[start : seam.start()]
        start = seam.start()
    if start < len(text):
        yield text[start:]


def splits_before_space(tokenizer: dict[str, Any]) -> bool:
    """Whether a `tokenizer.json` is of a make for which `encode(a + b) == encode(a) + encode(b)` at every such cut.

    True for what lmkit trains, for GPT-2's bytes and for BERT's words; a make that is not recognised is never cut.
    """
    if any(token.get("lstrip") or token.get("rstrip") or not token.get("special") for token in tokenizer.get("added_tokens") or ()):
        return False
    normalizer = tokenizer.get("normalizer") or {"type": "Sequence", "normalizers": []}
    steps = normalizer["normalizers"] if normalizer["type"] == "Sequence" else [normalizer]
    if not all(step["type"] in ("NFC", "NFKC", "NFD", "NFKD", "Lowercase", "BertNormalizer", "StripAccents") for step in steps):
        return False
    before = tokenizer.get("pre_tokenizer")
    if before is None:
        return tokenizer["model"]["type"] == "BPE" and not tokenizer["model"]["merges"]
    match before["type"]:
        case "ByteLevel":
            return not before["add_prefix_space"] and before.get("use_regex", True)
        case "BertPreTokenizer":
            return True
        case "Sequence":
            return [part["type"] for part in before["pretokenizers"]] == ["Split", "Metaspace"] and (
                before["pretokenizers"][0]["pattern"] == {"Regex": WORDS} and before["pretokenizers"][1]["prepend_scheme"] == "never"
            )
    return False


# Words with the blank before them, numbers, single marks, single blanks: what unigram pieces may not reach across.
WORDS = r" ?[\p{L}\p{M}]+(?:['’][\p{L}\p{M}]+)*| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]|\s"


class UnitCache:
    """Remembers the ids of words; `encode_many` is asked only for new ones."""

    def __init__(self, encode_many: Callable[[list[str]], list[list[int]]]) -> None:
        self._encode_many = encode_many
        self._clear()

    def _clear(self) -> None:
        self._row: dict[str, int] = {}
        self._ids = np.empty(0, np.int32)
        self._starts = np.zeros(1, np.int64)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of each text, int32."""
        units = [UNIT.findall(text) for text in texts]
        if len(self._ids) > FULL:
            self._clear()
        new = [unit for unit in dict.fromkeys(chain.from_iterable(units)) if unit not in self._row]
        if new:
            self._learn(new)
        counts = np.fromiter(map(len, units), np.int64, len(units))
        rows = np.fromiter(map(self._row.__getitem__, chain.from_iterable(units)), np.int64, int(counts.sum()))
        starts = self._starts[rows]
        ends = np.cumsum(self._starts[rows + 1] - starts)
        lengths = np.diff(ends, prepend=0)
        ids = self._ids[np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)]
        edges = np.concatenate([[0], ends])[np.cumsum(counts)]
        return np.split(ids, edges[:-1]) if len(texts) else []

    def _learn(self, new: list[str]) -> None:
        found = self._encode_many(new)
        self._row.update(zip(new, range(len(self._row), len(self._row) + len(new)), strict=True))
        lengths = np.fromiter(map(len, found), np.int64, len(found))
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])
        fresh = np.fromiter(chain.from_iterable(found), np.int32, int(lengths.sum()))
        self._ids = np.concatenate([self._ids, fresh])
