"""Parameters and arithmetic of a model from its words alone, without building it."""

from lmkit.blocks.spec import Norm
from lmkit.models.derive import resolved
from lmkit.models.spec import Decoder, Encoder
from lmkit.positions.spec import Learned


def count(spec: Encoder | Decoder, *, vocab_size: int, max_length: int) -> dict[str, int]:
    """Exact parameters of the backbone by part: `embeddings`, `layers.{i}`, `norm`; their sum is the whole."""
    spec = resolved(spec, max_length=max_length)
    hidden, norm = spec.hidden_size, norm_size(spec.norm, spec.hidden_size)
    tables = vocab_size + (spec.token_types or 0)
    tables += sum(position.max_length or max_length for position in spec.position if isinstance(position, Learned))
    parts = {"embeddings": tables * hidden + (norm if spec.embedding_norm else 0)}
    block = _projections(spec) + _biases(spec) + 2 * norm
    parts |= {f"layers.{i}": block for i in range(spec.num_layers)}
    return parts | ({"norm": norm} if spec.norm.placement == "pre" else {})


def flops_per_token(spec: Encoder | Decoder, *, length: int, causal: bool | None = None) -> dict[str, float]:
    """Floating-point operations of the backbone for a token of a full row of `length`: `forward`, and `training` = 3 x forward.

    Matrix products only, a multiplication and an addition counting 2: twice the entries of each layer's kernels, and
    2 (scores) + 2 (values) x num_heads x head_dim for each visible pair of query and key, averaged over the row's
    queries. A pair that the mask hides is not counted, though a dense kernel computes it.
    """
    spec = resolved(spec, max_length=length)
    causal = spec.kind == "decoder" if causal is None else causal
    width = spec.num_heads * (spec.head_dim or 0)
    keys = sum(visible_keys(length, spec.attention.window_of(i), causal) for i in range(spec.num_layers))
    forward = 2.0 * spec.num_layers * _projections(spec) + 4.0 * width * keys
    return {"forward": forward, "training": 3 * forward}


def visible_keys(length: int, window: int | None, causal: bool) -> float:
    """Keys that a query of a full row sees, on average over the row."""
    reach = min(length if window is None else window, length)
    if causal:
        return (reach * (reach + 1) / 2 + (length - reach) * reach) / length
    side = min(length - 1 if window is None else window, length - 1)
    return (length * (2 * side + 1) - side * (side + 1)) / length


def norm_size(norm: Norm, width: int) -> int:
    """Parameters of a norm over so many channels."""
    return width * (2 if norm.kind == "layer_norm" else 1)


def _projections(spec: Encoder | Decoder) -> int:
    head_dim, part = spec.head_dim or 0, spec.feed_forward[0]
    attention = 2 * spec.hidden_size * (spec.num_heads + (spec.num_kv_heads or 0)) * head_dim
    return attention + spec.hidden_size * (part.intermediate_size or 0) * (3 if part.kind == "gated" else 2)


def _biases(spec: Encoder | Decoder) -> int:
    head_dim, inner = spec.head_dim or 0, spec.feed_forward[0].intermediate_size or 0
    attention = (spec.num_heads + 2 * (spec.num_kv_heads or 0)) * head_dim + spec.hidden_size
    feed_forward = inner * (2 if spec.feed_forward[0].kind == "gated" else 1) + spec.hidden_size
    return (attention if spec.attention.bias.any() else 0) + (feed_forward if spec.bias else 0)
