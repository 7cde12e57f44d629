"""Cross-attention: a decoder's queries read what an encoder made of another text (Vaswani et al., 2017)."""

from typing import Any

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect, MultiHeadAttention

Memory = tuple[Any, Any]


class CrossAttention(MultiHeadAttention):
    """Attention whose keys and values come from the states of an encoder, `memory_size` wide; nothing is rotated.

    `keys_and_values` of the states are all that a decoder must remember of them.
    """

    def call(  # type: ignore[override]
        self, x_BTD: Any, *, memory: Any, visible: Mask | None = None, row_key: Any = None, collect: Collect | None = None
    ) -> Any:
        """x [B, T, D] -> [B, T, D]; `memory` is the encoder's states [B, S, D], or what `keys_and_values` made of them."""
        k, v = memory if isinstance(memory, tuple) else self.keys_and_values(memory)
        return self.attended(self.queries(x_BTD), k, v, visible=visible, row_key=row_key, collect=collect)
