"""What a model's words leave to be derived, and the rule behind each default."""

from typing import Any, TypeVar

from lmkit.blocks.spec import Dense
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

    hidden, inner = spec.hidden_size, spec.feed_forward.intermediate_size
    default("num_kv_heads", spec.num_kv_heads, spec.num_heads, "num_heads")
    default("head_dim", spec.head_dim, hidden // spec.num_heads, "hidden_size / num_heads")
    bias = default("bias", spec.bias, spec.norm.kind == "layer_norm", "true with layer_norm, false with rms_norm")
    default("attention.bias", spec.attention.bias, bias, "model.bias")
    default("attention.dropout", spec.attention.dropout, spec.dropout, "model.dropout")
    default("embedding_norm", spec.embedding_norm, spec.norm.placement == "post", "true iff norm.placement is post")
    default("token_types", spec.token_types, 2 if pairs else 0, "2 if a task sends pairs, else 0")
    if isinstance(spec.feed_forward, Dense):
        default("feed_forward.intermediate_size", inner, 4 * hidden, "4 x hidden_size")
    else:
        default("feed_forward.intermediate_size", inner, -(-8 * hidden // 3 // 64) * 64, "8/3 x hidden_size, up to a multiple of 64")
    for i, position in enumerate(spec.position):
        if isinstance(position, Learned):
            default(f"position.{i}.max_length", position.max_length, max_length, "data.max_length")
    return found


def transform_activation(spec: Stack) -> str:
    """The activation of a head's transform."""
    return spec.output.transform_activation or spec.feed_forward[0].activation


def resolved(spec: S, *, max_length: int, pairs: bool = False) -> S:
    """The same stack with nothing left to derive; what is given stays."""
    top: dict[str, Any] = {}
    attention: dict[str, Any] = {}
    positions = list(spec.position)
    for key, (value, _) in derived(spec, max_length=max_length, pairs=pairs).items():
        match key.split("."):
            case ["attention", name]:
                attention[name] = value
            case ["feed_forward", name]:
                top["feed_forward"] = spec.feed_forward.model_copy(update={name: value})
            case ["position", i, name]:
                positions[int(i)] = positions[int(i)].model_copy(update={name: value})
            case [name]:
                top[name] = value
    attention_spec = spec.attention.model_copy(update=attention)
    return spec.model_copy(update={**top, "attention": attention_spec, "position": tuple(positions)})
