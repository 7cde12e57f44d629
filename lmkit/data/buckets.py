"""Which few row lengths are compiled, and which rows share a batch."""

import numpy as np

STEP = 8
CANDIDATES = 256
WORTH = 1.01  # a length costs a compilation: not for less than so much of the work


def plan_buckets(widths: np.ndarray, max_length: int, count: int) -> tuple[int, ...]:
    """At most `count` row lengths, max_length among them, that hold rows of `widths` tokens with the least padding (to 1 %).

    Multiples of 8 below max_length; dynamic programming over the histogram of widths.
    """
    step = STEP * max(1, -(-max_length // (STEP * CANDIDATES)))
    ends = np.append(np.arange(step, max_length, step), max_length)
    rows = np.bincount(np.searchsorted(ends, widths), minlength=len(ends))
    keep = (rows > 0) | (ends == max_length)
    ends, rows = ends[keep], rows[keep]
    below = np.cumsum(rows)
    # cost[j]: cells used by all rows up to length j when j is the last bucket so far; before[k][j]: the bucket before it.
    cost = (below * ends).astype(np.float64)
    before: list[np.ndarray] = []
    costs = [cost]
    for _ in range(min(count, len(ends)) - 1):
        grown = cost[:, None] + (below[None, :] - below[:, None]) * ends[None, :]
        grown[np.tril_indices(len(ends))] = np.inf
        before.append(grown.argmin(axis=0))
        cost = grown.min(axis=0)
        costs.append(cost)
    totals = np.array([c[-1] for c in costs])
    best = int(np.flatnonzero(totals <= totals.min() * WORTH)[0])
    chosen = [len(ends) - 1]
    for back in reversed(before[:best]):
        chosen.append(int(back[chosen[-1]]))
    return tuple(int(ends[i]) for i in reversed(chosen))


def deal(widths: np.ndarray, buckets: tuple[int, ...], batch_size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, in their given order, dealt into ceil(rows / batch_size) batches of one length each.

    Returns (order, edges, lengths): batch i is rows order[edges[i]:edges[i + 1]] at length lengths[i]. Batches differ by at most
    one row; what would be a rest of one length joins the next longer one.
    """
    bucket = np.searchsorted(buckets, widths)
    order = np.argsort(bucket.astype(np.uint8), kind="stable")
    count = -(-len(widths) // batch_size)
    edges = np.arange(count + 1) * len(widths) // max(count, 1)
    return order, edges, np.asarray(buckets, np.int64)[bucket[order[edges[1:] - 1]]]
