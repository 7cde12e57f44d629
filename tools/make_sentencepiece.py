"""Trains small SentencePiece models and writes what SentencePiece makes of texts: `python tools/make_sentencepiece.py DEST FILE ...`.

It needs the sentencepiece package, which lmkit does without. `tests/text/sentencepiece/` holds what it wrote of this project's READMEs.
"""

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

TEXTS = """A man in a hat is sitting on a bench.|Hello   world|  lead|trail  ||   |a\tb\nc|new\nline\n\nline|don't stop—now…|1,234,567.89
|(hello) "q" - £5|ﬁ ligature ½ ℌ|ｆｕｌｌ　ｗｉｄｔｈ １２３|é vs e\u0301|nbsp\u00a0\u00a0x|a\u200bb|xxxxxxxxxxxx
|春眠不覺曉，處處聞啼鳥。
|Déjà vu? Größe!|नमस्ते ไทย العربية|😀😀 emoji 👨‍👩‍👧 🇩🇪|<h1>t</h1>|▁raw▁mark|zalgo ẗ̴e̷|a  b   c    d|训练语言模型，一个 YAML 文件就够了。"""
KEEPS = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False, "byte_fallback": True, "character_coverage": 0.98}
MODELS: dict[str, dict[str, Any]] = {
    "unigram": {"vocab_size": 600, "character_coverage": 0.98}
    | {"control_symbols": ["[CLS]", "[SEP]", "[MASK]"], "user_defined_symbols": ["(", ")", '"', "-", ".", "£"]},
    "bytes": {"vocab_size": 900, "model_type": "bpe", "split_digits": True, **KEEPS},
    "runs": {"vocab_size": 900, "model_type": "bpe", "add_dummy_prefix": False, "user_defined_symbols": ["\n\n", "▁▁", "▁▁▁", "<h1>"]}
    | {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>", **KEEPS},
}


def main(dest: Path, *corpus: Path) -> None:
    """Writes NAME.model.gz for each of the models, and cases.json with the ids and the decoded text of every text."""
    import sentencepiece

    lines = [line for file in corpus for line in file.read_text(encoding="utf-8").splitlines()]
    texts = TEXTS.replace("\n|", "|").split("|")
    cases: dict[str, Any] = {"texts": texts}
    dest.mkdir(parents=True, exist_ok=True)
    for name, options in MODELS.items():
        made = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=made, minloglevel=2, **options)
        (dest / f"{name}.model.gz").write_bytes(gzip.compress(made.getvalue(), mtime=0))
        loaded = sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())
        ids = [loaded.encode(text) for text in texts]
        cases[name] = {"ids": ids, "decoded": [loaded.decode(one) for one in ids]}
    (dest / "cases.json").write_text(json.dumps(cases, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
