"""Cross-attention: a decoder's queries read what an encoder made of another text (Vaswani et al., 2017)."""

from typing import Any

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect, MultiHeadAttention, turned

Memory = tuple[Any, Any]


class CrossAttention(MultiHeadAttention):
    """Attention whose keys and values come from the states of an encoder, `memory_size` wide; nothing is rotated.

    What it makes of the states is all that a decoder must `remember` of them.
    """

    def remember(self, states_BSD: Any) -> Memory:
        """Keys and values [B, K, S, H]."""
        k, v = self.keys_and_values(states_BSD)
        return turned(k), turned(v)

    def call(  # type: ignore[override]
        self, x_BTD: Any, *, memory: Any, visible: Mask | None = None, row_key: Any = None, collect: Collect | None = None
    ) -> Any:
        """x [B, T, D] -> [B, T, D]; `memory` is the encoder's states [B, S, D], or what is remembered of them."""
        k, v = map(turned, memory) if isinstance(memory, tuple) else self.keys_and_values(memory)
        return self.attended(self.queries(x_BTD), k, v, visible=visible, row_key=row_key, collect=collect)
