"""Models of words alone: written as folders that transformers opens with their logits, and read again as the same model."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from lmkit.checkpoints.hub.fit import differing, fit
from lmkit.checkpoints.hub.heads import NAMES
from lmkit.checkpoints.hub.read import read_folder
from lmkit.checkpoints.hub.words import flatten
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.errors import CheckpointError
from lmkit.heads.model import Model
from lmkit.inference.logits import logits_of
from lmkit.models.build import build_backbone
from lmkit.models.derive import resolved
from lmkit.models.spec import Decoder, Encoder, EncoderDecoder
from lmkit.run.model import shapes_of, variables_of
from lmkit.run.source import foreign_source
from lmkit.run.verify import filled, rows_of
from lmkit.run.verify_transformers import output_of, transformers_logits
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import AnyTask
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe

VOCAB, LENGTH = 270, 34
TOKENIZER = train_tokenizer(Bpe(vocab_size=VOCAB), ["the quick brown fox jumps over the lazy dog " * 20])
BODIES: dict[str, Any] = {"encoder": Encoder, "decoder": Decoder, "encoder_decoder": EncoderDecoder}
SIZES = {"kind": "encoder", "num_layers": 4, "hidden_size": 32, "num_heads": 4}
POST = {**SIZES, "norm": {"kind": "layer_norm", "placement": "post", "epsilon": 1e-12}, "token_types": 2}
RELU = {"kind": "dense", "activation": "relu"}
MODERN = {
    **SIZES,
    "norm": {"kind": "layer_norm", "bias": False, "first": False},
    "bias": False,
    "embedding_norm": True,
    "feed_forward": {"kind": "gated", "activation": "gelu"},
    "output": {"transform_bias": False},
}
FAR, NEAR = ({"kind": "rotary", "base": base} for base in (160_000.0, 10_000.0))
DEFAULT = {"kind": "default"}
NEAR_FIRST = {"position": NEAR, "attention": {"window": ["full", 3, 3], "rotary": [FAR, DEFAULT, DEFAULT]}}
FAR_FIRST = {"position": FAR, "attention": {"window": ["full", 3, 3], "rotary": [DEFAULT, NEAR, NEAR]}}
SIDES = {**POST, "kind": "encoder_decoder", "token_types": 0, "embedding_norm": False, "start_id": 2, "output": {"bias": True}}
SIDES |= {"norm": {"kind": "layer_norm", "placement": "post"}, "position": {"kind": "sinusoidal", "layout": "half"}}
CASES: dict[str, tuple[dict[str, Any], str, str]] = {
    "near_first": ({**MODERN, **NEAR_FIRST}, "masked_lm", "ModernBertForMaskedLM"),
    "far_first": ({**MODERN, **FAR_FIRST}, "masked_lm", "ModernBertForMaskedLM"),
    "projection_of_equal_width": (
        {**POST, "embedding_size": 32, "layer_groups": 1, "feed_forward": {"kind": "dense", "activation": "gelu_tanh"}},
        "masked_lm",
        "AlbertForMaskedLM",
    ),
    "generator": ({**POST, "feed_forward": RELU, "output": {"transform_activation": "gelu"}}, "masked_lm", "ElectraForMaskedLM"),
    "narrow_generator": (
        {**POST, "embedding_size": 12, "feed_forward": RELU, "output": {"transform_activation": "gelu"}},
        "masked_lm",
        "ElectraForMaskedLM",
    ),
    "convolution": (
        {**POST, "position": {"kind": "disentangled", "max_distance": 12}, "convolution": {"kernel_size": 3, "activation": "silu"}},
        "masked_lm",
        "DebertaV2ForMaskedLM",
    ),
    "encoder_of_distances": (
        {**SIZES, "norm": {"kind": "rms_norm"}, "attention": {"scale": 1.0}, "position": {"kind": "relative"}}
        | {"feed_forward": {"kind": "gated", "activation": "gelu_tanh"}},
        "sentence_embedding",
        "T5EncoderModel",
    ),
    "tables_apart": ({**SIDES, "tie_embeddings": "none"}, "seq2seq", "MarianMTModel"),
    "table_of_the_decoder": ({**SIDES, "tie_embeddings": "output"}, "seq2seq", "MarianMTModel"),
    "discriminator": ({**POST, "embedding_size": 12, "feed_forward": RELU}, "replaced_token", "ElectraForPreTraining"),
}


def model_of(words: dict[str, Any], kind: str) -> tuple[Any, dict[str, AnyTask], Model]:
    """The words of a body, its task, and both built with random weights."""
    spec = resolved(BODIES[words["kind"]].model_validate(words), max_length=LENGTH)
    assert list(spec.problems()) == []
    task: Any = TypeAdapter(AnyTask).validate_python({"kind": kind})
    backbone = build_backbone(spec, vocab_size=VOCAB, max_length=LENGTH)
    name = NAMES.get(kind, kind)
    model = Model(backbone, {name: build_head(task, name, backbone=backbone, model_spec=spec)})
    draw = np.random.default_rng(0)
    for key, variable in variables_of(model).items():
        variable.assign(draw.normal(1.0 if key.endswith("scale") else 0.0, 0.3, variable.shape).astype(np.float32))
    return spec, {name: task}, model


@pytest.mark.parametrize("case", CASES)
def test_transformers_and_lmkit_open_what_was_written_with_the_same_logits(case: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    words, kind, name = CASES[case]
    spec, tasks, model = model_of(words, kind)
    tensors = {key: np.asarray(variable) for key, variable in variables_of(model).items()}
    roles = {role: getattr(TOKENIZER, role) for role in ("bos", "eos", "pad")}
    outgoing = Outgoing(spec, tasks, {}, VOCAB, LENGTH, roles, beside=huggingface_files(TOKENIZER, max_length=LENGTH, token_types=False))
    assert write_folder(tmp_path / "out", outgoing, tensors) == name
    source = foreign_source(tmp_path / "out")
    read = read_folder(tmp_path / "out").tensors(shapes_of(source.spec, vocab_size=VOCAB, labels={}))
    batch = rows_of(source)
    ours, again = (logits_of(one, source.spec.tasks, batch) for one in (model, filled(source, read, VOCAB)))
    theirs = transformers_logits(tmp_path / "out", batch)
    assert theirs is not None
    for key, one in ours.items():
        np.testing.assert_array_equal(np.asarray(one), np.asarray(again[key]))
    key, kind = ("hidden", "hidden") if kind == "sentence_embedding" else (next(iter(tasks)), kind)
    expected = output_of(theirs, kind)
    assert expected is not None
    assert np.abs(np.asarray(ours[key]) - expected).max() <= 2e-4 * np.std(expected)


def test_two_wordings_of_the_same_rotations_are_the_same_words() -> None:
    near, far, other = (
        flatten(Encoder.model_validate(MODERN | words), max_length=LENGTH) for words in (NEAR_FIRST, FAR_FIRST, {"position": NEAR})
    )
    assert differing(near, far) == []
    assert differing(near, other)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "mixture": (
        {**SIZES, "kind": "decoder", "feed_forward": [{"kind": "mixture", "num_experts": 3, "experts_per_token": 2}, {"kind": "dense"}]},
        "feed_forward.0.kind: mixture",
    ),
    "rotation": (
        {**SIZES, "kind": "decoder", "norm": {"kind": "rms_norm"}, "position": NEAR, "attention": {"rotary": [DEFAULT, FAR]}}
        | {"feed_forward": {"kind": "gated"}},
        "attention.rotary.1.kind: rotary",
    ),
    "window": ({**POST, "attention": {"window": ["full", 9]}}, "attention.window.1: 9"),
    "placement": (SIZES, "norm.placement: pre"),
    "part": ({**POST, "norm": {"kind": "custom", "class": "parts.py:Part", "placement": "post"}}, ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_family_says_is_named_by_its_key_in_words_of_yaml(case: str) -> None:
    words, named = REFUSED[case]
    spec, kind = BODIES[words["kind"]].model_validate(words), "causal_lm" if words["kind"] == "decoder" else "masked_lm"
    with pytest.raises(CheckpointError) as error:
        fit(spec, {"task": TypeAdapter(AnyTask).validate_python({"kind": kind})}, max_length=LENGTH)
    what = error.value.problems[0].what
    assert what.startswith(named) and "cannot be said by" in what
    assert not set("(){}'") & set(what)
