"""One Transformer block: attention and a feed-forward part, each a branch of the residual stream."""

from typing import Any, Literal

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.weights import canonical


class TransformerBlock(Layer):
    """`pre`: x + branch(norm(x)) (GPT-2). `post`: norm(x + branch(x)) (BERT and the original Transformer).

    The parts are layers: `attention` as MultiHeadAttention is called, the others from [B, T, D] to [B, T, D]. `dropout`
    acts on each branch before it is added.
    """

    def __init__(
        self,
        *,
        attention: Layer,
        attention_norm: Layer,
        feed_forward: Layer,
        feed_forward_norm: Layer,
        placement: Literal["pre", "post"] = "pre",
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.attention, self.attention_norm = attention, attention_norm
        self.feed_forward, self.feed_forward_norm = feed_forward, feed_forward_norm
        self.placement, self.dropout = placement, dropout

    def build(self, input_shape: Any = None) -> None:
        for part in (self.attention, self.attention_norm, self.feed_forward, self.feed_forward_norm):
            part.build()
        self.attention_dropout_id = layer_id(canonical(self) + ".attention.dropout")
        self.feed_forward_dropout_id = layer_id(canonical(self) + ".feed_forward.dropout")

    def call(
        self,
        x_BTD: Any,
        *,
        visible: Mask | None = None,
        rotation: Any = None,
        row_key: Any = None,
        cache: tuple[Any, Any] | None = None,
        cache_index: Any = None,
        collect: Collect | None = None,
    ) -> Any:
        """x [B, T, D] -> [B, T, D]; with a cache, that and the new cache. All keywords but `row_key` are the attention's."""
        attention = {"visible": visible, "rotation": rotation, "cache": cache, "cache_index": cache_index, "collect": collect}
        pre = self.placement == "pre"
        branch = self.attention(self.attention_norm(x_BTD) if pre else x_BTD, row_key=row_key, **attention)
        if cache is not None:
            branch, cache = branch
        x = x_BTD + dropout(branch, self.dropout, row_key, self.attention_dropout_id)
        x = x if pre else self.attention_norm(x)
        branch = self.feed_forward(self.feed_forward_norm(x) if pre else x)
        x = x + dropout(branch, self.dropout, row_key, self.feed_forward_dropout_id)
        x = x if pre else self.feed_forward_norm(x)
        return x if cache is None else (x, cache)
