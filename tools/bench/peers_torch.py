"""transformers on torch: eager or compiled, float32 or bfloat16 autocast, fused AdamW."""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from tools.bench.workloads import CLIP_NORM, LEARNING_RATE, WEIGHT_DECAY, Workload, random_batch

CONFIGURATIONS = ("eager_float32", "eager_bfloat16", "compile_float32", "compile_bfloat16")


def prepare(work: Workload, configuration: str) -> Callable[[int], float]:
    """Returns `run(n)`: the seconds that n steps (or generations) take."""
    return _generation(work, configuration) if work.new_tokens else _training(work, configuration)


def _model(work: Workload) -> Any:
    from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel

    if work.kind == "masked_lm":
        return BertForMaskedLM(
            BertConfig(
                vocab_size=work.vocabulary,
                hidden_size=work.width,
                num_hidden_layers=work.layers,
                num_attention_heads=work.heads,
                intermediate_size=4 * work.width,
                max_position_embeddings=work.length,
                hidden_dropout_prob=work.dropout,
                attention_probs_dropout_prob=work.dropout,
            )
        )
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=work.vocabulary,
            n_positions=work.length + work.new_tokens,
            n_embd=work.width,
            n_layer=work.layers,
            n_head=work.heads,
            resid_pdrop=work.dropout,
            embd_pdrop=work.dropout,
            attn_pdrop=work.dropout,
            bos_token_id=0,
            eos_token_id=None,
            pad_token_id=0,
        )
    )


def _training(work: Workload, configuration: str) -> Callable[[int], float]:
    import torch

    torch.manual_seed(0)
    device = _device()
    model = _model(work).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    forward = torch.compile(model) if configuration.startswith("compile") else model
    low = configuration.endswith("bfloat16")
    batches = [{name: array.to(device) for name, array in _features(work, step).items()} for step in range(8)]

    def step(features: dict[str, Any]) -> float:
        with torch.autocast(device, torch.bfloat16) if low else nullcontext():
            loss = forward(**features).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM, foreach=True)
        optimizer.step()
        return float(loss.detach())

    def run(count: int) -> float:
        start = time.perf_counter()
        for i in range(count):
            step(batches[i % len(batches)])
        return time.perf_counter() - start

    return run


def _device() -> str:
    """The card where there is one, on which float32 products take TF32, as TensorFlow's do."""
    import torch

    torch.set_float32_matmul_precision("high")
    return "cuda" if torch.cuda.is_available() else "cpu"


def _features(work: Workload, step: int) -> dict[str, Any]:
    import torch

    batch = random_batch(work, step)
    tokens = torch.from_numpy(batch["tokens"]).long()
    if not work.masked:
        return {"input_ids": tokens, "labels": tokens}
    labels = torch.full_like(tokens, -100)
    labels.scatter_(1, torch.from_numpy(batch["where"]).long(), torch.from_numpy(batch["labels"]).long())
    return {"input_ids": tokens, "labels": labels}


def _generation(work: Workload, configuration: str) -> Callable[[int], float]:
    import torch

    torch.manual_seed(0)
    device = _device()
    model = _model(work).eval().to(device)
    if configuration.endswith("bfloat16"):
        model = model.to(torch.bfloat16)
    tokens = torch.from_numpy(random_batch(work, 0)["tokens"]).long().to(device)
    options: dict[str, Any] = {"max_new_tokens": work.new_tokens, "min_new_tokens": work.new_tokens, "do_sample": False}
    if configuration.startswith("compile"):
        options["cache_implementation"] = "static"
        model.forward = torch.compile(model.forward)

    def run(count: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            for _ in range(count):
                made = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)
                if made.shape[1] != work.length + work.new_tokens:
                    raise RuntimeError(f"expected {work.new_tokens} new tokens, got {made.shape[1] - work.length}")
        return time.perf_counter() - start

    return run
