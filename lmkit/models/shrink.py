"""A smaller stack of the same kind: the generator beside ELECTRA's discriminator."""

from lmkit.blocks.spec import CustomFeedForward, FeedForward
from lmkit.models.derive import S, resolved


def shrunk(spec: S, share: float, *, num_layers: int | None, max_length: int) -> S:
    """The stack with such a share of its width, feed-forward width and heads, and so many layers, which reads the same table of tokens.

    Of the numbers of heads that divide the width, it has the largest that the stack's other words allow.
    """
    spec = resolved(spec, max_length=max_length)
    hidden, width = max(2, round(share * spec.hidden_size)), spec.embedding_size or spec.hidden_size
    layers = num_layers or spec.num_layers
    changes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "embedding_size": None if width == hidden else width,
        "feed_forward": tuple(_narrow(part, share) for part in spec.feed_forward),
        "layer_groups": None if spec.layer_groups is None else 1,
        "blocks_per_group": 1,
        "tie_embeddings": True,
    }
    small = spec.model_copy(update=changes)
    kv_heads = share * (spec.num_kv_heads or spec.num_heads)
    each = [_with_heads(small, heads, kv_heads) for heads in _divisors(hidden, share * spec.num_heads)]
    return next((one for one in each if not any(one.problems())), each[0])


def _with_heads(spec: S, heads: int, kv_heads: float) -> S:
    changes = {"num_heads": heads, "num_kv_heads": _divisors(heads, kv_heads)[0], "head_dim": spec.hidden_size // heads}
    return spec.model_copy(update=changes)


def _divisors(of: int, most: float) -> list[int]:
    """Divisors of a number that are not above `most`, the largest first; 1 is always one."""
    return [n for n in range(min(max(1, round(most)), of), 0, -1) if of % n == 0]


def _narrow(part: FeedForward, share: float) -> FeedForward:
    if isinstance(part, CustomFeedForward):
        return part
    return part.model_copy(update={"intermediate_size": max(1, round(share * (part.intermediate_size or 0)))})
