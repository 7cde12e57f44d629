"""The door of positions: from its words to the layer that fills its slot."""

from typing import assert_never

from lmkit.layers.build import build_custom
from lmkit.layers.layer import Layer
from lmkit.positions.alibi import AlibiPosition
from lmkit.positions.disentangled import DisentangledPosition
from lmkit.positions.learned import LearnedPosition
from lmkit.positions.relative import RelativePosition
from lmkit.positions.rotary import RotaryPosition
from lmkit.positions.sinusoidal import SinusoidalPosition
from lmkit.positions.spec import Alibi, CustomPosition, Disentangled, Learned, NoPosition, Position, Relative, Rotary, Sinusoidal


def build_position(
    spec: Position,
    *,
    embedding_size: int = 0,
    hidden_size: int = 0,
    num_heads: int = 0,
    head_dim: int = 0,
    max_length: int = 0,
    causal: bool = False,
    norm: Layer | None = None,
) -> Layer | None:
    """The layer, unbuilt and named `position` or by its kind; its `slot` says where it goes. None for no position information.

    Each kind needs the sizes that it is made of; `norm` is for vectors of distances.
    """
    match spec:
        case NoPosition():
            return None
        case Learned():
            return LearnedPosition(
                spec.max_length or max_length, embedding_size, offset=spec.offset, padding_id=spec.padding_id, name="position"
            )
        case Sinusoidal():
            return SinusoidalPosition(embedding_size, base=spec.base, layout=spec.layout, name="position")
        case Rotary():
            scaling = spec.scaling.model_dump()
            return RotaryPosition(head_dim, base=spec.base, fraction=spec.fraction, layout=spec.layout, scaling=scaling, name="rotary")
        case Alibi():
            return AlibiPosition(num_heads, name="alibi")
        case Relative():
            sizes = {"num_buckets": spec.num_buckets, "max_distance": spec.max_distance}
            return RelativePosition(num_heads, bidirectional=not causal, name="relative", **sizes)
        case Disentangled():
            norm = norm if spec.norm else None
            return DisentangledPosition(hidden_size, max_distance=spec.max_distance, buckets=spec.buckets, norm=norm, name="distance")
        case CustomPosition():
            name = "position" if spec.slot == "embedding" else spec.slot
            sizes = {"embedding_size": embedding_size, "hidden_size": hidden_size, "num_heads": num_heads, "head_dim": head_dim}
            return build_custom(spec, name=name, max_length=max_length, causal=causal, **sizes)  # type: ignore[no-any-return]
        case _:
            assert_never(spec)
