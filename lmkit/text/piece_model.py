"""A SentencePiece model as a tokenizer of the tokenizers library, which cuts texts as SentencePiece does."""

import re
from collections.abc import Collection, Iterator, Sequence

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from lmkit.text.piece_file import UNIGRAM, Kind, PieceModel

SPACE = "▁"
FOUND = (Kind.NORMAL, Kind.USER)  # in a text
HIDDEN = (Kind.CONTROL, Kind.UNUSED, Kind.BYTE)  # in none, whatever stands there


def assembled(
    model: PieceModel,
    *,
    before: Sequence[normalizers.Normalizer] = (),
    cut_marks: bool = False,
    everywhere: bool = True,
    alone: Collection[str] = (),
) -> tokenizers.Tokenizer:
    """The tokenizer of pieces whose places are their ids; control pieces, and what is unknown, become special tokens.

    `before` is done to a text first, `cut_marks` sets punctuation apart. The space before a text stands behind added tokens too,
    unless `everywhere` is False. `alone` are further pieces that a text is cut at before it is looked at.
    """
    backend = tokenizers.Tokenizer(_unigram(model) if model.kind == UNIGRAM else _bpe(model))
    steps = [*before, *([normalizers.Precompiled(model.charsmap)] if model.charsmap else [])]
    if model.single_spaces:
        steps += [normalizers.Replace(Regex(r"\A +| +\z"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
    steps += [normalizers.Prepend(SPACE)] if model.prefix and everywhere else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
    backend.pre_tokenizer = pre_tokenizers.Sequence([*_cuts(model, cut_marks, everywhere)])
    strip = [decoders.Strip(" ", 1, 0)] if model.prefix else []
    backend.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    lone = ("<mask>", "[MASK]")  # takes the blank before it
    for piece in model.pieces:
        if piece.text in alone:
            backend.add_tokens([AddedToken(piece.text, normalized=False)])
        elif piece.kind in (Kind.CONTROL, Kind.UNKNOWN):
            backend.add_special_tokens([AddedToken(piece.text, special=True, normalized=False, lstrip=piece.text in lone)])
    return backend


def _cuts(model: PieceModel, marks: bool, everywhere: bool) -> Iterator[pre_tokenizers.PreTokenizer]:
    """What a text is cut into: pieces that always stay whole, and words, where no piece reaches across their beginnings."""
    if marks:
        yield pre_tokenizers.Punctuation("isolated")
    if model.prefix and not everywhere:
        yield pre_tokenizers.Metaspace(SPACE, "first", split=False)
    users = [piece.text for piece in model.pieces if piece.kind == Kind.USER]
    if users:
        yield pre_tokenizers.Split(Regex("|".join(map(re.escape, sorted(users, key=len, reverse=True)))), "isolated")
    unigram = model.kind == UNIGRAM
    hidden = [piece.text for piece in model.pieces if piece.kind in HIDDEN and len(piece.text) > 1]
    if hidden and (unigram or users):
        yield pre_tokenizers.Split(Regex(_beginnings(hidden, whole=not unigram)), "isolated")
    if unigram and not any(SPACE in piece.text[1:] for piece in model.pieces if piece.kind in FOUND):
        yield pre_tokenizers.Metaspace(SPACE, "never", split=True)


def _beginnings(texts: Sequence[str], *, whole: bool) -> str:
    """A pattern of the first character of each of the texts where the rest follows, so that none is found in what is cut there.

    `whole`: only where nothing else stands with it.
    """
    begin, end = (r"\A", r"\z") if whole else ("", "")
    rests: dict[str, list[str]] = {}
    for text in texts:
        rests.setdefault(text[0], []).append(re.escape(text[1:]) + end)
    return "|".join(f"{begin}{re.escape(first)}(?={'|'.join(some)})" for first, some in rests.items())


def _unknown(model: PieceModel) -> int:
    found = next((i for i, piece in enumerate(model.pieces) if piece.kind == Kind.UNKNOWN), None)
    if found is None:
        raise ValueError("no piece stands for what is unknown")
    return found


def _unigram(model: PieceModel) -> models.Unigram:
    vocab = [(piece.text, piece.score) for piece in model.pieces]
    return models.Unigram(vocab, unk_id=_unknown(model), byte_fallback=model.byte_fallback)


def _bpe(model: PieceModel) -> models.BPE:
    """Merges in the order of the scores of what they make."""
    ids = {piece.text: i for i, piece in enumerate(model.pieces)}
    ranks = {piece.text: (-piece.score, i) for i, piece in enumerate(model.pieces) if piece.kind == Kind.NORMAL}
    halves = (
        (rank, ids[text[:i]], ids[text[i:]], (text[:i], text[i:]))
        for text, rank in ranks.items()
        for i in range(1, len(text))
        if text[:i] in ranks and text[i:] in ranks
    )
    merges = [merge for *_, merge in sorted(halves)]
    unknown = model.pieces[_unknown(model)].text
    whole = any(piece.kind == Kind.USER for piece in model.pieces)
    options = {"fuse_unk": True, "byte_fallback": model.byte_fallback, "ignore_merges": whole}
    return models.BPE(vocab=ids, merges=merges, unk_token=unknown, **options)
