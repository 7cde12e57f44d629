"""A folder's generation_config.json, read by us and by transformers, writes the same ids: decoders, and decoders beside an encoder."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.hub.generation import read_habits
from lmkit.generation.settings import Settings
from lmkit.inference.generator import generator_of
from lmkit.run.console import Console
from lmkit.run.open import OpenedRun, open_trained

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

FOLDERS = Path(__file__).parents[1] / "checkpoints" / "hub" / "folders"
CLASSES = {"t5": "T5ForConditionalGeneration", "bart": "BartForConditionalGeneration", "smollm2": "LlamaForCausalLM"}
PROMPTS = [[50, 61, 72, 83, 94, 105], [120, 131, 42]]
NEW = 10
MANY = list(range(30, 90))  # so many ends that texts do end
BAD = [[7], [8, 9], [91, 92], *([n] for n in range(200, 230))]
RULES = {"repetition_penalty": 1.4, "bad_words_ids": BAD, "suppress_tokens": [11, 12]}
SAID: dict[str, tuple[str, dict[str, Any]]] = {
    "summaries": (
        "bart",
        {"num_beams": 4, "early_stopping": True, "length_penalty": 2.0, "min_length": 4, "no_repeat_ngram_size": 3}
        | {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "eos_token_id": 2},
    ),
    "translations": (
        "t5",
        {"num_beams": 3, "num_return_sequences": 2, "renormalize_logits": True, "bad_words_ids": BAD},
    ),
    "greedy beside an encoder": ("t5", RULES | {"eos_token_id": MANY, "min_new_tokens": 3, "begin_suppress_tokens": list(range(90, 200))}),
    "greedy": ("smollm2", RULES | {"eos_token_id": MANY, "min_new_tokens": 5, "forced_eos_token_id": [33, 44]}),
    "a search": ("smollm2", RULES | {"num_beams": 3, "early_stopping": "never", "length_penalty": -0.5, "eos_token_id": MANY}),
}


@cache
def ours(name: str) -> OpenedRun:
    silent = Console(out=lambda line: None, err=lambda line: None, write=lambda text: None)
    return open_trained(FOLDERS / name, silent)


def theirs(folder: Path, name: str, ends: tuple[int, ...]) -> list[list[int]]:
    """The new ids of each row up to an end, of prompts padded on the side that the model expects."""
    model = getattr(transformers, CLASSES[name]).from_pretrained(folder, dtype=torch.float32).eval()
    beside = model.config.is_encoder_decoder
    longest = max(map(len, PROMPTS))
    pads = [(0, longest - len(row)) if beside else (longest - len(row), 0) for row in PROMPTS]
    ids = np.array([np.pad(row, pad) for row, pad in zip(PROMPTS, pads, strict=True)])
    mask = np.array([np.pad(np.ones(len(row), int), pad) for row, pad in zip(PROMPTS, pads, strict=True)])
    with torch.no_grad():
        made = model.generate(
            torch.tensor(ids), attention_mask=torch.tensor(mask), max_new_tokens=NEW, pad_token_id=0, use_cache=not beside
        )
    rows = made[:, 1 if beside else longest :].tolist()
    return [next((row[:i] for i, token in enumerate(row) if token in ends), row) for row in rows]


@pytest.mark.parametrize("case", SAID)
def test_what_a_folder_says_is_followed(case: str, tmp_path: Path) -> None:
    name, said = SAID[case]
    folder = shutil.copytree(FOLDERS / name, tmp_path / name)
    usual = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(usual | said))
    habits = read_habits(folder)
    assert habits is not None and habits.unheard == ()
    opened = ours(name)
    generator = generator_of(opened.spec.tasks, opened.model, Settings(**habits.words), context=opened.spec.data.max_length)
    made = generator.generate(PROMPTS, max_tokens=NEW)
    assert [one.ids for one in made] == theirs(folder, name, habits.words["end"])
