"""Writes tiny Hugging Face checkpoints of random weights with a `reference.npz` of what transformers makes of them.

`python tools/make_checkpoints.py DEST [NAME ...]` needs torch and transformers, which lmkit itself does without. What it writes is
what `tools/check_checkpoint.py` reads, in the format of the shared references: `input_ids`, `padded_*`, `left_*`, logits, hidden
states, greedy and beam ids, loss and gradient norm.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe

VOCAB, ROWS, LENGTH, NEW = 288, 2, 17, 8
PAD, BOS, EOS = 0, 2, 3
CORPUS = [
    "The quick brown fox's 12 friends, don't they jump?\nOver the lazy dog -- again; and again.\n" * 9,
    "Déjà vu café 春眠不覺曉\n" * 9,
]

LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 72,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
BART = {
    "vocab_size": VOCAB,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 56,
    "max_position_embeddings": 40,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": EOS,
    "forced_eos_token_id": None,
}
T5 = {
    "vocab_size": VOCAB,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 56,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 20,
    "pad_token_id": PAD,
    "eos_token_id": EOS,
    "decoder_start_token_id": PAD,
}
LONG = {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.5, 2.0, 3.0, 4.0]}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}


@dataclass(frozen=True)
class Case:
    """A class of transformers, its config's values, and what is done to the file: dtype, shards, a config of old."""

    name: str
    config: Mapping[str, Any]
    dtype: str = "float32"
    shards: str = "1GB"
    edit: Mapping[str, Any] = field(default_factory=dict)  # laid over config.json afterwards; None takes a key away

    def edited(self, **edit: Any) -> "Case":
        """The same with another config.json."""
        return replace(self, edit=edit)


def llama(name: str, **values: Any) -> Case:
    return Case(name, {**LLAMA, **values})


CASES: dict[str, Case] = {
    "llama_biases": llama("LlamaForCausalLM", attention_bias=True, mlp_bias=True, head_dim=10),
    "llama_linear": llama("LlamaForCausalLM", rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}),
    "llama_dynamic": llama(
        "LlamaForCausalLM", max_position_embeddings=12, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    ),
    "llama_yarn": llama("LlamaForCausalLM", rope_parameters=YARN),
    "llama_yarn_mscale": llama("LlamaForCausalLM", rope_parameters={**YARN, "mscale": 0.7, "mscale_all_dim": 0.4, "truncate": False}),
    "mistral_full": llama("MistralForCausalLM", sliding_window=None, num_attention_heads=4, head_dim=12),
    "mixtral_window": llama("MixtralForCausalLM", sliding_window=5, num_local_experts=3, num_experts_per_tok=2),
    "qwen2_windows": llama("Qwen2ForCausalLM", use_sliding_window=True, sliding_window=5, max_window_layers=1, tie_word_embeddings=True),
    "qwen2_cls": llama("Qwen2ForSequenceClassification", num_labels=4),
    "qwen3_bias": llama("Qwen3ForCausalLM", head_dim=10, attention_bias=True),
    "qwen3_moe": llama(
        "Qwen3MoeForCausalLM",
        head_dim=10,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=24,
        norm_topk_prob=True,
        mlp_only_layers=[1],
    ),
    "qwen3_moe_all": llama("Qwen3MoeForCausalLM", head_dim=8, num_experts=4, num_experts_per_tok=3, moe_intermediate_size=16),
    "gemma_old": Case(
        "GemmaForCausalLM",
        {**LLAMA, "head_dim": 12, "num_key_value_heads": 1},
        edit={"hidden_act": "gelu", "rope_parameters": None, "rope_theta": 10000.0},
    ),
    "gemma2_uncapped": llama(
        "Gemma2ForCausalLM",
        head_dim=12,
        query_pre_attn_scalar=9,
        attn_logit_softcapping=None,
        final_logit_softcapping=5.0,
        sliding_window=4,
    ),
    "gemma3_text": llama(
        "Gemma3ForCausalLM", num_hidden_layers=7, head_dim=12, query_pre_attn_scalar=10, sliding_window=5, final_logit_softcapping=None
    ),
    "gemma3_linear": llama(
        "Gemma3ForCausalLM",
        num_hidden_layers=6,
        head_dim=12,
        sliding_window=4,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "gemma3_legacy": llama(
        "Gemma3ForCausalLM",
        num_hidden_layers=7,
        head_dim=12,
        sliding_window=5,
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5},
            "sliding_attention": {"rope_type": "default", "rope_theta": 2e4},
        },
    ).edited(
        rope_parameters=None,
        layer_types=None,
        sliding_window_pattern=6,
        rope_theta=5e5,
        rope_local_base_freq=2e4,
        rope_scaling={"rope_type": "linear", "factor": 8.0},
    ),
    "gemma3_wrapped": Case(
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {**LLAMA, "head_dim": 12, "num_hidden_layers": 7, "sliding_window": 5},
            "vision_config": {
                "hidden_size": 16,
                "intermediate_size": 20,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
                "image_size": 28,
                "patch_size": 14,
                "vision_use_head": False,
            },
            "mm_tokens_per_image": 4,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
    ),
    "llama_legacy": llama("LlamaForCausalLM", rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 5000.0}).edited(
        rope_parameters=None, rope_theta=5000, rope_scaling={"type": "linear", "factor": 3}
    ),
    "phi_legacy": llama(
        "PhiForCausalLM", rope_parameters={"rope_type": "default", "rope_theta": 9000.0, "partial_rotary_factor": 0.75}
    ).edited(rope_parameters=None, rope_theta=9000.0, partial_rotary_factor=0.75),
    "smollm3_legacy": llama("SmolLM3ForCausalLM", num_hidden_layers=5, no_rope_layer_interval=3).edited(
        rope_parameters=None, rope_theta=2e6, no_rope_layers=None, layer_types=None
    ),
    "llama_bare": llama("LlamaModel"),
    "phi_qk": llama("PhiForCausalLM", num_key_value_heads=3, qk_layernorm=True),
    "phi3": llama("Phi3ForCausalLM", sliding_window=6),
    "phi3_long": llama(
        "Phi3ForCausalLM",
        num_attention_heads=6,
        max_position_embeddings=64,
        original_max_position_embeddings=16,
        rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **LONG},
    ),
    "phi4_partial": llama(
        "Phi3ForCausalLM", rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.75}
    ),
    "olmo2": llama("Olmo2ForCausalLM", tie_word_embeddings=True),
    "granite": llama(
        "GraniteForCausalLM",
        embedding_multiplier=3.0,
        logits_scaling=2.5,
        residual_multiplier=0.4,
        attention_multiplier=0.2,
        attention_bias=True,
    ),
    "starcoder2": llama("Starcoder2ForCausalLM", sliding_window=6),
    "starcoder2_plain": llama("Starcoder2ForCausalLM", use_bias=False, tie_word_embeddings=False),
    "smollm3": llama("SmolLM3ForCausalLM", num_hidden_layers=5),
    "smollm3_windows": llama(
        "SmolLM3ForCausalLM", num_hidden_layers=4, use_sliding_window=True, sliding_window=5, no_rope_layers=[1, 0, 0, 1]
    ),
    "stablelm": llama("StableLmForCausalLM", use_qkv_bias=True),
    "stablelm_parallel": llama("StableLmForCausalLM", use_parallel_residual=True, tie_word_embeddings=True),
    "neox_sequential": llama("GPTNeoXForCausalLM", use_parallel_residual=False, attention_bias=False, tie_word_embeddings=True),
    "gptj_whole": Case(
        "GPTJForCausalLM",
        {
            "vocab_size": VOCAB,
            "n_embd": 40,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 64,
            "rotary_dim": 10,
            "n_inner": 50,
            "eos_token_id": EOS,
        },
    ),
    "opt_350m": Case(
        "OPTForCausalLM",
        {
            **{key: LLAMA[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")},
            "ffn_dim": 64,
            "max_position_embeddings": 40,
            "word_embed_proj_dim": 20,
            "do_layer_norm_before": False,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
        dtype="float16",
    ),
    "bloom_flag": Case(
        "BloomForCausalLM",
        {
            "vocab_size": VOCAB,
            "hidden_size": 48,
            "n_layer": 2,
            "n_head": 6,
            "apply_residual_connection_post_layernorm": True,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
        },
        dtype="bfloat16",
        shards="20KB",
    ),
    "gpt2_scaled": Case(
        "GPT2LMHeadModel",
        {
            "vocab_size": VOCAB,
            "n_embd": 40,
            "n_layer": 3,
            "n_head": 4,
            "n_positions": 64,
            "n_inner": 50,
            "scale_attn_by_inverse_layer_idx": True,
            "activation_function": "relu",
            "eos_token_id": EOS,
        },
    ),
    "mt5": Case("MT5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "t5_gated_tied": Case("T5ForConditionalGeneration", {**T5, "feed_forward_proj": "gated-silu"}),
    "bart_scaled": Case("BartForConditionalGeneration", {**BART, "scale_embedding": True, "activation_function": "relu"}),
    "bart_cls": Case("BartForSequenceClassification", {**BART, "num_labels": 3}),
    "mbart": Case("MBartForConditionalGeneration", {**BART, "scale_embedding": True, "num_hidden_layers": 2}),
    "pegasus": Case("PegasusForConditionalGeneration", {**BART, "scale_embedding": True, "activation_function": "relu"}),
    "marian_relu": Case("MarianMTModel", {**BART, "scale_embedding": True, "activation_function": "relu", "decoder_start_token_id": PAD}),
    "marian_apart": Case("MarianMTModel", {**BART, "share_encoder_decoder_embeddings": False}),
    "marian_untied": Case("MarianMTModel", {**BART, "share_encoder_decoder_embeddings": False, "tie_word_embeddings": False}),
}


def write(name: str, case: Case, dest: Path) -> None:
    """One folder; the same name gives the same numbers."""
    seed = sum(map(ord, name))
    torch.manual_seed(seed)
    cls = getattr(transformers, case.name)
    config = cls.config_class(**case.config)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.15)  # so that biases and scales show, and logits differ
        for key, value in model.named_buffers():
            if key == "final_logits_bias":
                value.add_(torch.randn_like(value) * 0.3)
    folder = dest / name
    folder.mkdir(parents=True)
    model.to(getattr(torch, case.dtype)).save_pretrained(folder, max_shard_size=case.shards)
    frozen = {key for key, parameter in model.named_parameters() if not parameter.requires_grad}  # PEGASUS's sinusoids
    model = cls.from_pretrained(folder, dtype=torch.float32).eval()  # what is not in the file, rotations for example, is exact again
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(key not in frozen)
    tokenizer = train_tokenizer(Bpe(vocab_size=280), CORPUS)
    for file, data in huggingface_files(tokenizer, max_length=64, token_types=False).items():
        (folder / file).write_bytes(data)
    if case.edit:
        said = json.loads((folder / "config.json").read_text())
        said = {key: value for key, value in {**said, **case.edit}.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(said, indent=2))
    arrays = seq2seq(model, seed) if model.config.is_encoder_decoder else decoder(model, seed)
    packed: dict[str, Any] = dict(arrays)
    np.savez(folder / "reference.npz", **packed)


def decoder(model: Any, seed: int) -> dict[str, np.ndarray]:
    """The arrays of a model of one stack."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(5, 280, (ROWS, LENGTH))
    mask = np.ones_like(ids)
    mask[1, LENGTH - 5 :] = 0
    padded, left, left_mask = np.where(mask, ids, PAD), ids.copy(), mask[:, ::-1].copy()
    left[1] = np.concatenate([np.full(5, PAD), ids[1, : LENGTH - 5]])
    positions = np.maximum(left_mask.cumsum(1) - 1, 0)
    found: dict[str, np.ndarray] = {"input_ids": ids, "padded_input_ids": padded, "padded_attention_mask": mask}
    labels = ids if not hasattr(model, "score") else draw.integers(0, model.config.num_labels, ROWS)
    if hasattr(model, "score"):
        found |= outputs(model, "padded_", input_ids=padded, attention_mask=mask)
        return integers(found) | loss(model, labels, input_ids=padded, attention_mask=mask)
    found |= outputs(model, "", input_ids=ids)
    if not hasattr(model, "lm_head") and not hasattr(model, "embed_out"):
        return integers(found)
    found |= {"padded_logits": outputs(model, "padded_", input_ids=padded, attention_mask=mask)["padded_logits"]}
    extra = {"position_ids": positions} if "position_ids" in inspect.signature(model.forward).parameters else {}
    found |= {"left_input_ids": left, "left_attention_mask": left_mask, "left_position_ids": positions}
    found |= {"left_logits": outputs(model, "left_", input_ids=left, attention_mask=left_mask, **extra)["left_logits"]}
    found |= {"generate_prompt": ids[:, :9], "generate_greedy": generated(model, 1, input_ids=ids[:, :9])}
    return integers(found) | loss(model, labels, input_ids=ids)


def seq2seq(model: Any, seed: int) -> dict[str, np.ndarray]:
    """The arrays of an encoder with a decoder beside it."""
    draw = np.random.default_rng(seed)
    ids, mask = draw.integers(5, 280, (ROWS, 15)), np.ones((ROWS, 15), np.int64)
    mask[1, 11:] = 0
    ids[:, 10] = model.config.eos_token_id
    padded = np.where(mask, ids, PAD)
    found: dict[str, np.ndarray] = {"padded_input_ids": padded, "padded_attention_mask": mask}
    if "Classification" in type(model).__name__:
        found |= {"padded_logits": outputs(model, "padded_", input_ids=padded, attention_mask=mask)["padded_logits"]}
        return integers(found)
    begun = np.concatenate([np.full((ROWS, 1), model.config.decoder_start_token_id), draw.integers(5, 280, (ROWS, 9))], axis=1)
    labels = draw.integers(5, 280, (ROWS, 10))
    labels[1, 6:] = -100
    found |= {"decoder_input_ids": begun}
    found |= outputs(model, "padded_", input_ids=padded, attention_mask=mask, decoder_input_ids=begun)
    found |= {"generate_greedy": generated(model, 1, input_ids=padded, attention_mask=mask)}
    found |= {"generate_beam3": generated(model, 3, input_ids=padded, attention_mask=mask)}
    return integers(found) | loss(model, labels, input_ids=padded, attention_mask=mask)


def outputs(model: Any, prefix: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Logits and hidden states as references name them."""
    with torch.no_grad():
        made = model(**{key: torch.tensor(value) for key, value in inputs.items()}, output_hidden_states=True, use_cache=False)
    found = {f"{prefix}logits": made.logits.numpy()} if hasattr(made, "logits") else {f"{prefix}last_hidden_state": made[0].numpy()}
    for key in ("hidden_states", "encoder_hidden_states", "decoder_hidden_states"):
        if getattr(made, key, None) is not None and "Classification" not in type(model).__name__:
            layers = list(getattr(made, key))
            if len({one.shape for one in layers}) == 1:
                found[f"{prefix}{key}"] = torch.stack(layers).numpy()
    return found


def generated(model: Any, beams: int, **inputs: np.ndarray) -> np.ndarray:
    """Greedy or beam ids, cut or padded to the same length."""
    both = model.config.is_encoder_decoder
    how = {"num_beams": beams, "do_sample": False, "use_cache": not both, **({"max_length": NEW} if both else {"max_new_tokens": NEW})}
    with torch.no_grad():
        made = model.generate(**{key: torch.tensor(value) for key, value in inputs.items()}, **how)
    return made.numpy()  # type: ignore[no-any-return]


def loss(model: Any, labels: np.ndarray, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The loss, and the norm of its gradient over all weights."""
    model.zero_grad()
    made = model(**{key: torch.tensor(value) for key, value in inputs.items()}, labels=torch.tensor(labels), use_cache=False)
    made.loss.backward()
    norm = sum(float((p.grad.double() ** 2).sum()) for p in model.parameters() if p.grad is not None) ** 0.5
    return {"loss_labels": labels.astype(np.int32), "loss": np.float64(made.loss.item()), "loss_grad_norm": np.float64(norm)}  # type: ignore[dict-item]


def integers(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Ids in 32 bits."""
    return {key: value.astype(np.int32) if value.dtype.kind == "i" else value for key, value in arrays.items()}


def main() -> int:
    """Writes the cases of the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("dest", type=Path)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    failed = 0
    for name in arguments.names or CASES:
        try:
            write(name, CASES[name], arguments.dest)
            print(f"{name}: written", file=sys.stderr)
        except Exception as error:
            failed += 1
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
