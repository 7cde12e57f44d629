"""Every class of every family: words, a folder of random weights, the same words and weights again, and transformers opens it too."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.header import header_bytes
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fit import differing, fit
from lmkit.checkpoints.hub.known import FAMILIES
from lmkit.checkpoints.hub.layers import FULL, SLIDING
from lmkit.checkpoints.hub.read import read_folder
from lmkit.checkpoints.hub.words import flatten, nested
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.errors import CheckpointError
from lmkit.inference.logits import logits_of
from lmkit.models.spec import Decoder, Encoder, EncoderDecoder
from lmkit.run.model import shapes_of
from lmkit.run.source import foreign_source, spec_of
from lmkit.run.verify import filled, rows_of
from lmkit.run.verify_transformers import output_of, transformers_logits
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe

VOCAB = 280
# Sizes under all names that families have for them.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("intermediate_size", "n_inner", "hidden_dim", "ffn_dim", "d_ff", "encoder_ffn_dim", "decoder_ffn_dim"), 40),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "seq_length"), 34),
    "vocab_size": VOCAB,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "d_kv": 6,
    "rotary_dim": 4,
    "embedding_size": 16,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "moe_intermediate_size": 20,
    "num_experts": 3,
    "num_local_experts": 3,
    "num_experts_per_tok": 2,
    "sliding_window": 9,
    "attention_types": [[["global", "local"], 1]],
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "decoder_start_token_id": 2,
    "relative_attention": True,
    "position_buckets": 8,
    "max_relative_positions": -1,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "id2label": {"0": "a", "1": "b", "2": "c"},
}
BODIES = {"encoder": Encoder, "decoder": Decoder, "encoder_decoder": EncoderDecoder}
OWN = [family for family in FAMILIES if not family.inside]
CLASSES = [(family, name) for family in OWN for name in (*family.classes, family.bare)]
TOKENIZER = train_tokenizer(Bpe(vocab_size=VOCAB), ["the quick brown fox jumps over the lazy dog " * 20])


def config_of(family: Family, name: str) -> dict[str, Any]:
    padding = {"max_position_embeddings": 35} if family.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else {}
    padding |= {"embedding_size": 32} if family.model_type == "deberta-v2" else {}
    return {**family.silent, **SIZES, **padding, "model_type": family.model_type, "architectures": [name]}


@pytest.fixture(scope="module", params=CLASSES, ids=lambda one: one[1])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, np.ndarray]]:
    """A folder of the class with random weights."""
    family, name = request.param
    home = tmp_path_factory.mktemp(name)
    words = spec_words(family, name, home)
    shapes = shapes_of(words, vocab_size=VOCAB, labels=labels_of(words))
    draw = np.random.default_rng(0)
    tensors = {key: draw.normal(1.0 if key.endswith("scale") else 0.0, 0.3, shape).astype(np.float32) for key, shape in shapes.items()}
    roles = {role: getattr(TOKENIZER, role) for role in ("bos", "eos", "pad")}
    files = huggingface_files(TOKENIZER, max_length=34, token_types=False)
    outgoing = Outgoing(words.model, words.tasks, labels_of(words), VOCAB, 34, roles, beside=files, prefer=family.model_type)
    assert write_folder(home / "out", outgoing, tensors) == name
    return home / "out", name, tensors


def spec_words(family: Family, name: str, home: Path) -> Any:
    """The words that a folder with that config would have, from a folder without weights."""
    (home / "config").mkdir()
    (home / "config" / "config.json").write_text(json.dumps(config_of(family, name)))
    (home / "config" / "model.safetensors").write_bytes(header_bytes([]))
    return spec_of(read_folder(home / "config"))


def labels_of(words: Any) -> dict[str, tuple[str, ...]]:
    return {name: tuple(task.labels) for name, task in words.tasks.items() if hasattr(task, "labels")}


def test_what_was_written_is_read_again(written: tuple[Path, str, dict[str, np.ndarray]]) -> None:
    folder, _, tensors = written
    again = read_folder(folder)
    spec = spec_of(again)
    shapes = shapes_of(spec, vocab_size=VOCAB, labels=labels_of(spec))
    found = again.tensors(shapes)
    assert found.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name], value)


def test_transformers_opens_it_with_every_weight_and_gives_the_same_logits(written: tuple[Path, str, dict[str, np.ndarray]]) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("torch")
    folder, name, tensors = written
    _, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    loaded = {
        key: sorted(one for one in value if "pooler." not in one and "embed_positions" not in one) for key, value in info.items() if value
    }
    assert not any(loaded.values()), loaded
    source = foreign_source(folder)
    batch = rows_of(source)
    ours = logits_of(filled(source, tensors, VOCAB), source.spec.tasks, batch)
    theirs = transformers_logits(folder, batch)
    assert theirs is not None
    kinds = {key: task.kind for key, task in source.spec.tasks.items()} | {"hidden": "hidden", "decoder_hidden": "hidden"}
    compared = 0
    for key, kind in kinds.items():
        other = output_of(theirs, kind) if key in ours and kind != "sentence_embedding" else None
        if other is not None:
            assert np.abs(np.asarray(ours[key]) - other).max() / other.std() < 2e-4, key
            compared += 1
    assert compared


VARIED: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}, "attention_bias": True}),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.5}}),
    ("llama", {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 8, "truncate": False}}),
    ("llama", {"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}),
    ("phi3", {"original_max_position_embeddings": 8, "rope_scaling": {"type": "su", "short_factor": [1.0] * 4, "long_factor": [2.0] * 4}}),
    ("gemma3_text", {"num_hidden_layers": 7, "rope_scaling": {"rope_type": "linear", "factor": 8.0}, "query_pre_attn_scalar": 10}),
    ("gemma2", {"num_hidden_layers": 3, "final_logit_softcapping": None}),
    ("smollm3", {"num_hidden_layers": 5, "use_sliding_window": True}),
    ("qwen2", {"num_hidden_layers": 4, "use_sliding_window": True, "max_window_layers": 2}),
    ("qwen3_moe", {"num_hidden_layers": 4, "mlp_only_layers": [0], "decoder_sparse_step": 2, "norm_topk_prob": True}),
    ("opt", {"do_layer_norm_before": False, "word_embed_proj_dim": 12, "enable_bias": False}),
    ("bloom", {"apply_residual_connection_post_layernorm": True}),
    ("gpt_neox", {"use_parallel_residual": False, "rotary_pct": 0.5}),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "n_inner": None}),
    ("granite", {"embedding_multiplier": 3, "logits_scaling": 3.7, "residual_multiplier": 0.3, "attention_multiplier": 0.11}),
    ("t5", {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 3, "tie_word_embeddings": False}),
    ("bart", {"scale_embedding": True, "decoder_layers": 3, "decoder_attention_heads": 2}),
    ("albert", {"num_hidden_layers": 4, "num_hidden_groups": 2}),
    ("modernbert", {"num_hidden_layers": 5, "global_attn_every_n_layers": 2}),
    ("modernbert", {"rope_parameters": {FULL: {"rope_type": "linear", "factor": 2.0, "rope_theta": 7e3}, SLIDING: {"rope_theta": 300.0}}}),
    ("modernbert", {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 17}}),
    ("modernbert", {"rope_parameters": {SLIDING: {"rope_type": "dynamic", "factor": 2.0}}}),
]


@pytest.mark.parametrize(("model_type", "changes"), VARIED, ids=[f"{name}-{i}" for i, (name, _) in enumerate(VARIED)])
def test_words_become_a_config_that_means_the_same_words(model_type: str, changes: dict[str, Any]) -> None:
    family = next(one for one in FAMILIES if one.model_type == model_type)
    flat = family.read(config_of(family, family.bare) | changes)
    body = BODIES[flat["kind"]].model_validate(nested(flat))
    assert list(body.problems()) == []
    found = fit(body, {}, max_length=34, prefer=model_type)
    assert found.family is family
    again = type(body).model_validate(nested(family.read(found.config)))
    flats = [flatten(one, max_length=34) for one in (body, again)]
    assert differing(*flats) in ([], ["tie_embeddings"])


def test_a_cap_on_scores_that_gemma3_has_and_does_not_apply_is_not_read_and_not_written() -> None:
    family = next(one for one in FAMILIES if one.model_type == "gemma3_text")
    plain = config_of(family, family.bare)
    assert family.read(plain | {"attn_logit_softcapping": 4.0}) == family.read(plain)
    capped = Decoder.model_validate(nested(family.read(plain) | {"attention.softcap": 4.0}))
    with pytest.raises(CheckpointError, match=r"attention\.softcap: 4\.0 cannot be said by gemma3_text"):
        fit(capped, {}, max_length=34, prefer="gemma3_text")
