"""Character-level tiny Shakespeare: lmkit's shipped recipe against an equal torch loop, seed by seed in turns.

    python -m tools.bench.shakespeare data/tiny_shakespeare --seeds 3

The size is what nanoGPT's README gives for a CPU: 4 layers, 4 heads, width 128, context 64, batch 12, 2000 steps, no dropout,
no biases. Both read the text once an epoch, in windows that each epoch cuts and shuffles anew, and are judged on the whole
validation file, in windows of 64 characters that overlap by one.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

RECIPE = Path(__file__).parents[2] / "model_configs" / "recipes" / "shakespeare-char.yaml"
LAYERS, HEADS, WIDTH, CONTEXT, BATCH, WARMUP = 4, 4, 128, 64, 12, 100
PEAK, FLOOR = 1e-3, 1e-4


def rate(step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine from PEAK to FLOOR; steps count from 1."""
    if step <= WARMUP:
        return PEAK * step / WARMUP
    return FLOOR + (PEAK - FLOOR) * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP))) / 2


def torch_model(vocabulary: int) -> Any:
    """nanoGPT's model in torch's own parts: pre-norm, exact GELU, tied embeddings, no biases."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
            self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
            self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            q, k, v = (t.view(batch, length, HEADS, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(WIDTH, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Gpt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), nn.LayerNorm(WIDTH, bias=False)
            for name, weight in self.named_parameters():
                if weight.dim() == 2:
                    scale = math.sqrt(2 * LAYERS) if name.endswith(("out.weight", "down.weight")) else 1.0
                    nn.init.normal_(weight, std=0.02 / scale)

        def forward(self, ids: Any, labels: Any, reduction: str = "mean") -> Any:
            x = self.tokens(ids) + self.places(torch.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            logits = self.norm(x) @ self.tokens.weight.T
            return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=reduction)

    return Gpt()


def window_starts(characters: int) -> Iterator[int]:
    """Where training windows begin: an epoch is the text once, but for less than a window at each end, cut and shuffled anew."""
    import torch

    while True:
        shift = int(torch.randint(CONTEXT, ()))
        starts = torch.arange(shift, characters - CONTEXT, CONTEXT)
        yield from starts[torch.randperm(len(starts))].tolist()


def run_torch(data: Path, seed: int, steps: int, compiled: bool) -> dict[str, float]:
    """Trains and evaluates; `ms` is the median time of a step."""
    import torch

    begin = time.perf_counter()
    torch.manual_seed(seed)
    texts = {part: (data / f"{part}.txt").read_text(encoding="utf-8") for part in ("train", "valid")}
    characters = {c: i for i, c in enumerate(sorted(set("".join(texts.values()))))}
    train, valid = (torch.tensor([characters[c] for c in texts[part]]) for part in ("train", "valid"))
    model = torch_model(len(characters))
    groups = [
        {"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.99), fused=True)
    forward = torch.compile(model) if compiled else model
    times, starts = [], window_starts(len(train))
    for step in range(1, steps + 1):
        start = time.perf_counter()
        rows = torch.stack([train[i : i + CONTEXT + 1] for i in islice(starts, BATCH)])
        loss = forward(rows[:, :-1], rows[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        optimizer.step()
        times.append(time.perf_counter() - start)
    total = 0.0
    with torch.inference_mode():
        whole = (len(valid) - 1) // CONTEXT * CONTEXT
        ids, labels = valid[:whole].view(-1, CONTEXT), valid[1 : whole + 1].view(-1, CONTEXT)
        for i in range(0, len(ids), 128):
            total += float(model(ids[i : i + 128], labels[i : i + 128], "sum"))
        if whole < len(valid) - 1:
            total += float(model(valid[None, whole:-1], valid[None, whole + 1 :], "sum"))
    loss = total / (len(valid) - 1)
    return {"loss": loss, "ms": 1000 * statistics.median(times), "seconds": time.perf_counter() - begin}


def run_lmkit(data: Path, seed: int, steps: int) -> dict[str, float]:
    """Runs `lmkit train` on the recipe and reads its own record; `ms` is the median time of a step."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = [
            f"seed={seed}",
            f"training.steps={steps}",
            f"training.evaluate_every={steps} steps",
            f"data.train.text={data / 'train.txt'}",
            f"data.validation.text={data / 'valid.txt'}",
            "logging.samples=[]",
        ]
        command = [sys.executable, "-c", "import sys; from lmkit.cli import main; sys.exit(main())", "train", str(RECIPE), *words]
        done = subprocess.run([*command, "--run-dir", str(run)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:] or done.stdout[-2000:])
        points = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    loss = [point["lm/loss"] for point in points if point["kind"] == "validation"][-1]
    speeds = [point["tokens_per_second"] for point in points if point["kind"] == "train"]
    return {"loss": loss, "ms": 1000 * BATCH * CONTEXT / statistics.median(speeds), "seconds": time.perf_counter() - begin}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train.txt and valid.txt")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--compile", action="store_true", help="torch.compile the torch loop")
    parser.add_argument("--only", choices=("torch", "lmkit"))
    parser.add_argument("--one", type=int, metavar="SEED", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(run_torch(args.data, args.one, args.steps, args.compile)))
        return
    results: dict[str, list[dict[str, float]]] = {side: [] for side in ("torch", "lmkit") if args.only in (None, side)}
    for seed in range(args.seeds):
        for side, found in results.items():
            if side == "lmkit":
                found.append(run_lmkit(args.data.resolve(), seed, args.steps))
            else:
                again = [*sys.argv[1:], "--one", str(seed)]
                child = [sys.executable, "-m", "tools.bench.shakespeare", *again]  # a process of its own, as lmkit has
                found.append(json.loads(subprocess.run(child, capture_output=True, text=True, check=True).stdout.splitlines()[-1]))
            one = found[-1]
            print(f"seed {seed}  {side:6} loss {one['loss']:.4f}  {one['ms']:6.1f} ms/step  {one['seconds']:6.1f} s in all", flush=True)
    for side, found in results.items():
        losses = [one["loss"] for one in found]
        spread = f" (standard deviation {statistics.stdev(losses):.4f})" if len(losses) > 1 else ""
        print(f"{side:6}  mean loss {statistics.mean(losses):.4f}{spread}  {statistics.median(one['ms'] for one in found):.1f} ms/step")
    if len(results) == 2:
        gap = statistics.mean(o["loss"] for o in results["lmkit"]) - statistics.mean(o["loss"] for o in results["torch"])
        ratios = [t["ms"] / o["ms"] for t, o in zip(results["torch"], results["lmkit"], strict=True)]
        print(f"lmkit - torch: {gap:+.4f} nat; a step is {statistics.median(ratios):.2f} times as fast")


if __name__ == "__main__":
    main()
