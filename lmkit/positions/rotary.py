"""Rotary positions: pairs of query and key channels turned by an angle proportional to the position (RoFormer)."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

from keras import ops

from lmkit.engine.tensorflow import fused
from lmkit.layers.layer import Layer
from lmkit.positions.scaling import base_frequencies, dynamic, llama3, longrope, yarn, yarn_attention_factor

Layout = Literal["half", "interleaved"]


def rotary_table(positions_BT: Any, frequencies_R: Any, factor: float = 1.0) -> tuple[Any, Any]:
    """Cosines and sines, float32 [B, T, R], of the angles p * frequency, times `factor`."""
    angles = ops.expand_dims(ops.cast(positions_BT, "float32"), -1) * ops.cast(frequencies_R, "float32")
    cos, sin = ops.cos(angles), ops.sin(angles)
    return (cos, sin) if factor == 1 else (cos * factor, sin * factor)


def rotate(x_BTNH: Any, table: tuple[Any, Any], layout: Layout = "half") -> Any:
    """Turns the first 2R channels of each head by the R angles of `table`; the rest pass.

    `half` pairs channel i with i + R (Llama, NeoX), `interleaved` pairs 2i with 2i + 1 (RoFormer, GPT-J). The product is
    computed in float32 and returned in the dtype of `x`.
    """
    return _in_layout(layout)(x_BTNH, *table)


def _rotated(x_BTNH: Any, cos_BTR: Any, sin_BTR: Any, layout: Layout) -> Any:
    cos, sin = ops.expand_dims(cos_BTR, 2), ops.expand_dims(sin_BTR, 2)
    pairs = cos.shape[-1]
    batch, length, heads, width = ops.shape(x_BTNH)
    turned, kept = x_BTNH, None
    if 2 * pairs != width:
        turned, kept = ops.split(x_BTNH, [2 * pairs], axis=-1)
    turned = ops.cast(turned, "float32")
    if layout == "interleaved":
        a, b = ops.unstack(ops.reshape(turned, (batch, length, heads, pairs, 2)), axis=-1)
        out = ops.reshape(ops.stack([a * cos - b * sin, b * cos + a * sin], axis=-1), (batch, length, heads, 2 * pairs))
    else:
        a, b = ops.split(turned, 2, axis=-1)
        out = ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
    out = ops.cast(out, x_BTNH.dtype)
    return out if kept is None else ops.concatenate([out, kept], axis=-1)


@cache
def _in_layout(layout: Layout) -> Callable[..., Any]:
    return fused(lambda x, cos, sin: _rotated(x, cos, sin, layout))


class RotaryPosition(Layer):
    """positions int[B, T] -> the table that `rotate` takes; no weights.

    `scaling` is None, or the `kind` of positions/spec.py and its keywords.
    """

    slot = "rotation"

    def __init__(
        self,
        head_dim: int,
        *,
        base: float = 10000.0,
        fraction: float = 1.0,
        layout: Layout = "half",
        scaling: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.head_dim, self.base, self.fraction, self.layout, self.scaling = head_dim, base, fraction, layout, scaling
        self.size = int(head_dim * fraction + 1e-6)
        if self.size % 2:
            raise ValueError(f"rotary turns pairs of channels, but {fraction:g} of head_dim = {head_dim} is odd")

    def build(self, input_shape: Any = None) -> None:
        pass

    def call(self, positions: Any) -> tuple[Any, Any]:
        frequencies, words = base_frequencies(self.size, self.base), dict(self.scaling or {"kind": "none"})
        original: Any = words.get("original_max_length")
        match words["kind"]:
            case "none":
                return rotary_table(positions, frequencies)
            case "linear":
                return rotary_table(positions, frequencies / words["factor"])
            case "dynamic":
                scaled = dynamic(positions, self.size, base=self.base, factor=words["factor"], original=original)
                return rotary_table(positions, scaled)
            case "llama3":
                band = {"low": words["low_frequency_factor"], "high": words["high_frequency_factor"]}
                return rotary_table(positions, llama3(frequencies, factor=words["factor"], original=original, **band))
            case "yarn":
                ramp = {"fast": words["beta_fast"], "slow": words["beta_slow"], "truncate": words["truncate"]}
                scaled = yarn(frequencies, base=self.base, factor=words["factor"], original=original, **ramp)
                by_default = yarn_attention_factor(words["factor"], words["mscale"], words["mscale_all_dim"])
                return rotary_table(positions, scaled, words["attention_factor"] or by_default)
            case "longrope":
                factors = {"short": words["short_factor"], "long": words["long_factor"]}
                scaled = longrope(positions, frequencies, original=original, **factors)
                return rotary_table(positions, scaled, words["attention_factor"])
        raise ValueError(f"{words['kind']} is no scaling of rotary frequencies")
