"""The machine's speed right now: products of large matrices in float32 and bfloat16."""

import time
from collections.abc import Callable

from tools.bench.workloads import Workload

CONFIGURATIONS = ("float32", "bfloat16")


def prepare(work: Workload, configuration: str) -> Callable[[int], float]:
    """Returns `run(n)`: the seconds that n products of 1536 x 1536 matrices take (7.25 GFLOP each)."""
    import torch

    card = torch.cuda.is_available()
    torch.set_float32_matmul_precision("high")  # TF32 on cards, as TensorFlow multiplies
    a = torch.rand((1536, 1536), dtype=getattr(torch, configuration), device="cuda" if card else "cpu")

    def run(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            a @ a
        if card:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    return run


GFLOP = 2 * 1536**3 / 1e9
