"""A smaller stack of the same kind: the generator beside ELECTRA's discriminator."""

from lmkit.blocks.spec import CustomFeedForward, FeedForward
from lmkit.models.derive import S, resolved


def shrunk(spec: S, share: float, *, num_layers: int | None, max_length: int) -> S:
    """The stack with such a share of its width, feed-forward width and heads, and so many layers, which reads the same table of tokens."""
    spec = resolved(spec, max_length=max_length)
    hidden, width = max(2, round(share * spec.hidden_size)), spec.embedding_size or spec.hidden_size
    heads = _fitting(share * spec.num_heads, hidden)
    layers = num_layers or spec.num_layers
    changes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": _fitting(share * (spec.num_kv_heads or spec.num_heads), heads),
        "head_dim": hidden // heads,
        "embedding_size": None if width == hidden else width,
        "feed_forward": tuple(_narrow(part, share) for part in spec.feed_forward),
        "layer_groups": None if spec.layer_groups is None else 1,
        "blocks_per_group": 1,
        "tie_embeddings": True,
    }
    return spec.model_copy(update=changes)


def _fitting(wanted: float, of: int) -> int:
    """The largest divisor of a number that is not above what is wanted, or 1."""
    return next(n for n in range(min(max(1, round(wanted)), of), 0, -1) if of % n == 0)


def _narrow(part: FeedForward, share: float) -> FeedForward:
    if isinstance(part, CustomFeedForward):
        return part
    return part.model_copy(update={"intermediate_size": max(1, round(share * (part.intermediate_size or 0)))})
