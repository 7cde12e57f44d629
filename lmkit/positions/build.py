"""The door of positions: from its words to the layer that fills its slot."""

from typing import assert_never

from lmkit.layers.layer import Layer
from lmkit.positions.alibi import AlibiPosition
from lmkit.positions.learned import LearnedPosition
from lmkit.positions.rotary import RotaryPosition
from lmkit.positions.sinusoidal import SinusoidalPosition
from lmkit.positions.spec import Alibi, Disentangled, Learned, NoPosition, Position, Relative, Rotary, Sinusoidal


def build_position(spec: Position, *, hidden_size: int, num_heads: int, head_dim: int, max_length: int) -> Layer | None:
    """The layer, unbuilt and named `position`; its `slot` says where it goes. None for no position information."""
    match spec:
        case NoPosition():
            return None
        case Learned():
            return LearnedPosition(spec.max_length or max_length, hidden_size, name="position")
        case Sinusoidal():
            return SinusoidalPosition(hidden_size, base=spec.base, name="position")
        case Rotary():
            return RotaryPosition(head_dim, base=spec.base, fraction=spec.fraction, layout=spec.layout, name="rotary")
        case Alibi():
            return AlibiPosition(num_heads, name="alibi")
        case Relative() | Disentangled():
            raise NotImplementedError(spec.kind)
        case _:
            assert_never(spec)
