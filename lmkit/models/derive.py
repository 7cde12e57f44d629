"""What a model's words leave to be derived, and the rule behind each default."""

from typing import Any, TypeVar

from lmkit.attention.spec import PROJECTIONS, Attention, Biases
from lmkit.blocks.spec import CustomFeedForward, Dense, Mixture, Norm
from lmkit.models.spec import Stack
from lmkit.positions.spec import Learned

S = TypeVar("S", bound=Stack)


def derived(spec: Stack, *, max_length: int, pairs: bool = False) -> dict[str, tuple[Any, str]]:
    """`key -> (value, rule)` for every key of the stack that is None, keys dotted and relative to the model.

    `pairs`: some task sends two texts in a row.
    """
    found: dict[str, tuple[Any, str]] = {}

    def default(key: str, given: Any, value: Any, rule: str) -> Any:
        if given is None:
            found[key] = (value, rule)
        return value if given is None else given

    hidden = spec.hidden_size
    default("num_kv_heads", spec.num_kv_heads, spec.num_heads, "num_heads")
    default("head_dim", spec.head_dim, hidden // spec.num_heads, "hidden_size / num_heads")
    bias = default("bias", spec.bias, spec.norm.kind == "layer_norm", "true with layer_norm, false with rms_norm")
    if isinstance(spec.attention, Attention):
        for name in PROJECTIONS:
            default(f"attention.bias.{name}", getattr(spec.attention.bias, name), bias, "model.bias")
    default("attention.dropout", spec.attention.dropout, spec.dropout, "model.dropout")
    default("final_norm", spec.final_norm, spec.norm.placement != "post", "true unless norm.placement is post")
    default("embedding_norm", spec.embedding_norm, spec.norm.placement == "post", "true iff norm.placement is post")
    default("token_types", spec.token_types, 2 if pairs else 0, "2 if a task sends pairs, else 0")
    for i, part in enumerate(spec.feed_forward):
        if isinstance(part, CustomFeedForward):
            continue
        if not isinstance(part, Mixture):
            default(f"feed_forward.{i}.bias", part.bias, bias, "model.bias")
        if isinstance(part, Dense) or (isinstance(part, Mixture) and not part.gated):
            size, rule = 4 * hidden, "4 x hidden_size"
        else:
            size, rule = -(-8 * hidden // 3 // 64) * 64, "8/3 x hidden_size, up to a multiple of 64"
        default(f"feed_forward.{i}.intermediate_size", part.intermediate_size, size, rule)
    for i, position in enumerate(spec.position):
        if isinstance(position, Learned):
            default(f"position.{i}.max_length", position.max_length, max_length, "data.max_length")
    return found


def look_across(spec: Stack) -> Attention:
    """The attention by which the blocks of a resolved decoder look at an encoder: as their own, multi-head where that is custom."""
    if isinstance(spec.attention, Attention):
        return spec.attention
    return Attention(dropout=spec.attention.dropout, bias=Biases(**dict.fromkeys(PROJECTIONS, spec.bias)))


def transform_activation(spec: Stack) -> str:
    """The activation of a head's transform; a custom feed-forward part has none to follow."""
    first = spec.feed_forward[0]
    return spec.output.transform_activation or ("gelu" if isinstance(first, CustomFeedForward) else first.activation)


def transform_norm(spec: Stack) -> Norm:
    """The norm of a masked-LM head's transform."""
    epsilon = spec.output.transform_epsilon
    return spec.norm if epsilon is None else spec.norm.model_copy(update={"epsilon": epsilon})


def resolved(spec: S, *, max_length: int, pairs: bool = False) -> S:
    """The same stack with nothing left to derive; what is given stays."""
    for key, (value, _) in derived(spec, max_length=max_length, pairs=pairs).items():
        spec = _filled(spec, key.split("."), value)
    return spec


def _filled(branch: Any, path: list[str], value: Any) -> Any:
    """A copy of a branch or a list with `value` at the path."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(branch, tuple):
        i = int(part)
        return (*branch[:i], _filled(branch[i], rest, value), *branch[i + 1 :])
    return branch.model_copy(update={part: _filled(getattr(branch, part), rest, value)})
