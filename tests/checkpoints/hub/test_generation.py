"""What folders say of writing, in our words: real files, what they leave unsaid, and values that cannot be meant."""

import json
from pathlib import Path
from typing import Any

import pytest

from lmkit.checkpoints.hub.generation import Habits, read_habits
from lmkit.errors import CheckpointError

FILES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a summarizer": (
        {
            "bos_token_id": 0, "decoder_start_token_id": 2, "early_stopping": True, "eos_token_id": 2, "forced_bos_token_id": 0,
            "forced_eos_token_id": 2, "length_penalty": 2.0, "max_length": 142, "min_length": 56, "no_repeat_ngram_size": 3,
            "num_beams": 4, "pad_token_id": 1,
        },
        {
            "beams": 4, "early_stopping": True, "length_penalty": 2.0, "end": (2,), "start": 2, "forced_first": 0, "forced_last": (2,),
            "min_length": 56, "no_repeat_ngram": 3,
        },
    ),
    "a translator": (
        {
            "bad_words_ids": [[58100]], "decoder_start_token_id": 58100, "eos_token_id": 0, "forced_eos_token_id": 0, "max_length": 512,
            "num_beams": 6, "pad_token_id": 58100, "renormalize_logits": True,
        },
        {"beams": 6, "bad_words": ((58100,),), "start": 58100, "end": (0,), "forced_last": (0,), "renormalize": True},
    ),
    "a chat model": (
        {"bos_token_id": 9, "do_sample": True, "eos_token_id": [8, 7], "temperature": 0.6, "top_p": 0.9, "transformers_version": "4"},
        {"temperature": 0.6, "top_k": 50, "top_p": 0.9, "end": (8, 7), "start": 9},
    ),
    "a draw from everything": (
        {"do_sample": True, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "temperature": 1, "min_new_tokens": 3},
        {"temperature": 1, "min_tokens": 3},
    ),
    "nothing": ({"_from_model_config": True, "temperature": 0.7}, {"temperature": 0.0}),
}  # fmt: skip


def read(path: Path, said: Any, name: str = "generation_config.json") -> Habits | None:
    (path / name).write_text(json.dumps(said))
    return read_habits(path)


@pytest.mark.parametrize("name", FILES)
def test_a_file_becomes_words(tmp_path: Path, name: str) -> None:
    said, expected = FILES[name]
    found = read(tmp_path, said)
    assert found is not None and found.words == expected and found.unheard == ()
    assert found.whole == said.get("max_length")


def test_an_older_folder_says_it_in_its_config(tmp_path: Path) -> None:
    config = {"model_type": "bart", "bos_token_id": 0, "force_bos_token_to_be_generated": True, "num_beams": 4, "eos_token_id": 2}
    found = read(tmp_path, config, "config.json")
    assert found is not None and found.words == {"beams": 4, "end": (2,), "start": 0, "forced_first": 0}
    newer = read(tmp_path, {"max_new_tokens": 5})
    assert newer is not None and (newer.words, newer.new) == ({"temperature": 0.0}, 5)


def test_where_nothing_is_said_there_are_no_habits(tmp_path: Path) -> None:
    assert read_habits(tmp_path) is None
    preset = read(tmp_path, {"module": "keras_hub.src", "class_name": "GPT2Backbone"}, "config.json")
    assert preset is not None and preset.words == {}


def test_what_has_no_word_is_told(tmp_path: Path) -> None:
    said = {"typical_p": 0.9, "encoder_no_repeat_ngram_size": 4, "epsilon_cutoff": 0.0, "do_sample": True, "num_beams": 2, "top_p": 0.5}
    found = read(tmp_path, said)
    assert (
        found is not None
        and found.words == {"beams": 2}
        and set(found.unheard) == {"typical_p", "encoder_no_repeat_ngram_size", "do_sample"}
    )


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ([1], "is no mapping"),
        ({"num_beams": 0}, "num_beams: expected a whole number of 1 or more, got 0"),
        ({"num_beams": 2, "length_penalty": "long"}, "length_penalty: expected a number, got 'long'"),
        ({"do_sample": True, "temperature": 0.0}, "temperature: expected a number above 0, got 0.0"),
        ({"do_sample": True, "top_p": 2}, "top_p: expected a share above 0 and at most 1, got 2"),
        ({"repetition_penalty": -1}, "repetition_penalty: expected a number above 0, got -1"),
        ({"eos_token_id": [3, "x"]}, "eos_token_id: expected a token or a list of tokens, got [3, 'x']"),
        ({"bad_words_ids": [3]}, "bad_words_ids: expected a list of lists of tokens, got [3]"),
        ({"renormalize_logits": 1}, "renormalize_logits: expected true or false, got 1"),
        ({"max_length": True}, "max_length: expected a whole number of 1 or more, got True"),
        ({"early_stopping": "soon", "num_beams": 2}, "early_stopping: expected true, false or \"never\", got 'soon'"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_line(tmp_path: Path, said: Any, line: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path, said)
    assert str(caught.value) == f"{tmp_path / 'generation_config.json'}: {line}"


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"eos_token_id": [3, 300]}, "eos_token_id"),
        ({"bad_words_ids": [[1], [2, 300]]}, "bad_words_ids"),
        ({"decoder_start_token_id": 300}, "decoder_start_token_id"),
        ({"suppress_tokens": [300]}, "suppress_tokens"),
    ],
)
def test_a_token_that_the_model_has_not_is_named(tmp_path: Path, said: Any, key: str) -> None:
    found = read(tmp_path, said)
    assert found is not None
    found.require(301, beside_encoder=True)
    with pytest.raises(CheckpointError, match=f"{key}: names token 300, the model has 300$"):
        found.require(300, beside_encoder=True)


def test_what_begins_a_text_is_asked_of_a_decoder_beside_an_encoder_alone(tmp_path: Path) -> None:
    found = read(tmp_path, {"bos_token_id": 300})
    assert found is not None
    found.require(300, beside_encoder=False)
    with pytest.raises(CheckpointError, match=r"bos_token_id: names token 300, the model has 300$"):
        found.require(300, beside_encoder=True)
