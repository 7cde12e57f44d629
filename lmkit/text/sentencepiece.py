"""Tokenizers of folders with a SentencePiece model: what each make puts before, behind and around its pieces."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import normalizers, processors

from lmkit.errors import CheckpointError
from lmkit.text.piece_file import BPE, UNIGRAM, Kind, Piece, PieceModel, read_pieces
from lmkit.text.piece_model import assembled
from lmkit.text.roles import content

NAMES = ("spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "source.spm", "spm.model")
LAST, NEVER = -1e6, -1e12  # scores of what is found only where nothing else is, and of what is not even then
LANGUAGES = (
    "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK "
    "tr_TR vi_VN zh_CN"
)
MORE_LANGUAGES = (
    "af_ZA az_AZ bn_IN fa_IR he_IL hr_HR id_ID ka_GE km_KH mk_MK ml_IN mn_MN mr_IN pl_PL ps_AF pt_XX sv_SE sw_KE ta_IN te_IN th_TH tl_XX "
    "uk_UA ur_PK xh_ZA gl_ES sl_SI"
)


@dataclass(frozen=True)
class Layout:
    """`front` stands in the place of the first `skip` pieces, `back` behind all; `single` and `pair` are templates of rows."""

    single: str
    pair: str
    front: Sequence[str] = ()
    skip: int = 0
    back: Sequence[str] = ()


FAIRSEQ = Layout("<s> $A </s>", "<s> $A </s> </s> $B </s>", ("<s>", "<pad>", "</s>", "<unk>"), 3, ("<mask>",))
BERT = Layout("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")
LIKE = {"mt5": "t5", "mistral": "llama", "mixtral": "llama", "phi3": "llama", "gemma2": "gemma", "gemma3": "gemma", "gemma3text": "gemma"}


def build(files: Mapping[str, bytes], config: Mapping[str, Any], model_type: str, where: Path) -> tokenizers.Tokenizer:
    """The tokenizer of a folder's SentencePiece model; `config` is its tokenizer_config.json.

    Raises CheckpointError for a file that is damaged, and for a make that is not known.
    """
    name = next(name for name in NAMES if name in files)
    try:
        return _read(read_pieces(files[name]), name, files, config, model_type)
    except ValueError as error:
        raise CheckpointError(f"{where / name}: {error}") from None


def _read(model: PieceModel, name: str, files: Mapping[str, bytes], config: Mapping[str, Any], model_type: str) -> tokenizers.Tokenizer:
    if model.kind not in (UNIGRAM, BPE) or model.space_behind or not model.marks_spaces:
        raise ValueError("only unigram and BPE models are read, with ▁ before words")
    make = _make(config, model_type)
    layout = _layout(make, config)
    if layout is None:
        how = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) in transformers writes a tokenizer.json, which is read"
        raise ValueError(f"the tokenizer of {make or 'an unnamed make'} is not known; {how}")
    if make == "marian":
        pieces = _translated(json.loads(files.get("vocab.json", b"{}")), model)
    else:
        front = [Piece(text, 0.0, Kind.UNKNOWN if text == "<unk>" else Kind.CONTROL) for text in layout.front]
        pieces = [*front, *model.pieces[layout.skip :], *(Piece(text, 0.0, Kind.CONTROL) for text in layout.back)]
    if make == "albert":
        pieces = [piece._replace(score=piece.score - 100) if _counts(piece.text) else piece for piece in pieces]
    backend = assembled(
        replace(model, pieces=pieces, prefix=model.prefix and config.get("add_prefix_space") is not False),
        before=_before(make, config),
        cut_marks=make == "debertav2" and bool(config.get("split_by_punct")),
        everywhere=config.get("legacy") is not False,
        alone=_codes(pieces) if make == "marian" else (),
    )
    named = {part.partition(":")[0] for part in f"{layout.single} {layout.pair}".split()} - {"$A", "$B"}
    known = [(token, backend.token_to_id(token)) for token in sorted(named)]
    if all(index is not None for _, index in known):
        backend.post_processor = processors.TemplateProcessing(single=layout.single, pair=layout.pair, special_tokens=known)
    return backend


def _make(config: Mapping[str, Any], model_type: str) -> str:
    named = str(config.get("tokenizer_class") or "").lower().removesuffix("fast").removesuffix("tokenizer")
    make = named if named and named not in ("pretrained", "tokenizersbackend") else model_type
    make = make.replace("-", "").replace("_", "")
    return LIKE.get(make, make)


def _layout(make: str, config: Mapping[str, Any]) -> Layout | None:
    language = str(config.get("src_lang") or "en_XX")
    match make:
        case "t5":
            extra = int(config.get("extra_ids", 0 if str(config.get("tokenizer_class")).startswith("MT5") else 100))
            return Layout("$A </s>", "$A </s> $B </s>", back=[f"<extra_id_{i}>" for i in reversed(range(extra))])
        case "albert" | "debertav2":
            return BERT
        case "xlmroberta":
            return FAIRSEQ
        case "camembert":
            return replace(FAIRSEQ, front=("<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"), skip=1)
        case "mbart":
            around: dict[str, Any] = {"single": f"$A </s> {language}", "pair": f"$A $B </s> {language}"}
            return replace(FAIRSEQ, back=(*LANGUAGES.split(), "<mask>"), **around)
        case "mbart50":
            around = {"single": f"{language} $A </s>", "pair": f"{language} $A $B </s>"}
            return replace(FAIRSEQ, back=(*LANGUAGES.split(), *MORE_LANGUAGES.split(), "<mask>"), **around)
        case "pegasus":
            unused = [f"<unk_{i}>" for i in range(2, int(config.get("offset", 103)))]
            return Layout("$A </s>", "$A $B </s>", ("<pad>", "</s>", "<mask_1>", "<mask_2>", *unused), 2)
        case "marian":
            return Layout("$A </s>", "$A $B </s>")
        case "llama" | "gemma":
            bos = content(config.get("bos_token")) or {"llama": "<s>", "gemma": "<bos>"}[make]
            return Layout(f"{bos} $A", f"{bos} $A {bos} $B")
    return None


def _translated(ids: Mapping[str, int], model: PieceModel) -> list[Piece]:
    """The pieces of two languages under one numbering. A text is cut into those of the source, and characters that it has not."""
    texts = sorted(ids, key=lambda text: ids[text])
    if not texts or [ids[text] for text in texts] != list(range(len(texts))):
        raise ValueError("vocab.json beside it does not number its pieces from 0 on")
    known = {piece.text: piece for piece in model.pieces}
    others = {"<unk>": Kind.UNKNOWN, "<pad>": Kind.CONTROL, "</s>": Kind.CONTROL}
    foreign = (Piece(text, LAST if len(text) == 1 else NEVER, Kind.NORMAL) for text in texts)
    return [Piece(one.text, 0.0, others[one.text]) if one.text in others else known.get(one.text, one) for one in foreign]


def _codes(pieces: Sequence[Piece]) -> list[str]:
    """Pieces that name the language to translate to, before a text."""
    return [piece.text for piece in pieces if piece.text.startswith(">>") and piece.text.endswith("<<")]


def _counts(piece: str) -> bool:
    """A number with its comma, which ALBERT cuts apart."""
    return len(piece) > 1 and piece[-1] == "," and piece[-2].isdigit()


def _before(make: str, config: Mapping[str, Any]) -> list[normalizers.Normalizer]:
    """What a make does to a text before SentencePiece sees it."""
    lower: list[normalizers.Normalizer] = [normalizers.Lowercase()]
    if make == "debertav2":
        return lower if config.get("do_lower_case") else []
    if make != "albert":
        return []
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    steps += [] if config.get("keep_accents") else [normalizers.NFKD(), normalizers.StripAccents()]
    return [*steps, *(lower if config.get("do_lower_case", True) else [])]
