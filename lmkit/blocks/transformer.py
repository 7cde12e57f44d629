"""One Transformer block: attention and a feed-forward part, each a branch of the residual stream."""

from collections.abc import Callable
from typing import Any, Literal

from keras import ops

from lmkit.attention.masks import Mask
from lmkit.attention.multi_head import Collect, under
from lmkit.blocks.mixture import MixtureFeedForward
from lmkit.layers.dropout import dropout, layer_id
from lmkit.layers.layer import Layer
from lmkit.layers.weights import canonical

Placement = Literal["pre", "post", "sandwich", "branch_post"]
Parts = tuple[Any, ...]


class TransformerBlock(Layer):
    """`pre`: x + branch(norm(x)) (GPT-2). `post`: norm(x + branch(x)) (BERT and the original Transformer).

    `sandwich`: x + post_norm(branch(norm(x))) (Gemma 2). `branch_post`: x + norm(branch(x)) (OLMo 2). `parallel`: both
    branches read the same x, through one norm where `feed_forward_norm` is None (GPT-J, NeoX). `residual` norm: branches are
    added to norm(x) (BLOOM's flag). A norm that is None changes nothing. With `cross_attention`, which reads `memory`, a third
    branch stands between the two; it does not go with `parallel`.

    The parts are layers: `attention` as MultiHeadAttention is called, the others from [B, T, D] to [B, T, D]. `dropout`
    and then `residual_scale` act on each branch before it is added.
    """

    def __init__(
        self,
        *,
        attention: Layer,
        attention_norm: Layer | None,
        feed_forward: Layer,
        feed_forward_norm: Layer | None,
        attention_post_norm: Layer | None = None,
        feed_forward_post_norm: Layer | None = None,
        cross_attention: Layer | None = None,
        cross_attention_norm: Layer | None = None,
        cross_attention_post_norm: Layer | None = None,
        placement: Placement = "pre",
        parallel: bool = False,
        residual: Literal["stream", "norm"] = "stream",
        residual_scale: float = 1.0,
        dropout: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.attention, self.attention_norm, self.attention_post_norm = attention, attention_norm, attention_post_norm
        self.feed_forward, self.feed_forward_norm, self.feed_forward_post_norm = feed_forward, feed_forward_norm, feed_forward_post_norm
        self.cross_attention: Any = cross_attention
        self.cross_attention_norm, self.cross_attention_post_norm = cross_attention_norm, cross_attention_post_norm
        self.placement, self.parallel, self.dropout = placement, parallel, dropout
        self.residual, self.residual_scale = residual, residual_scale
        self.has_experts = isinstance(feed_forward, MixtureFeedForward)

    def build(self, input_shape: Any = None) -> None:
        attention = (self.attention, self.attention_norm, self.attention_post_norm)
        cross = (self.cross_attention, self.cross_attention_norm, self.cross_attention_post_norm)
        for part in (*attention, *cross, self.feed_forward, self.feed_forward_norm, self.feed_forward_post_norm):
            if part is not None:
                part.build()
        self.attention_dropout_id = layer_id(canonical(self) + ".attention.dropout")
        self.cross_attention_dropout_id = layer_id(canonical(self) + ".cross_attention.dropout")
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
        memory: Any = None,
        memory_visible: Mask | None = None,
        collect: Collect | None = None,
    ) -> Any:
        """x [B, T, D] -> [B, T, D]; with a cache, that and the new cache. All keywords but `row_key` are the attention's.

        `memory` and `memory_visible` are the cross-attention's; `collect` receives its weights as `cross_attention.weights`.
        In training, a block with a mixture of experts gives x and how they were used, float32 [B, 2, E].
        """
        keywords = {"visible": visible, "rotation": rotation, "cache": cache, "cache_index": cache_index}

        def attend(x: Any) -> Parts:
            found = self.attention(x, row_key=row_key, collect=under(collect, "attention"), **keywords)
            return (found,) if cache is None else found

        def attend_across(x: Any) -> Parts:
            heard = under(collect, "cross_attention")
            return (self.cross_attention(x, memory=memory, visible=memory_visible, row_key=row_key, collect=heard),)

        def feed_forward(x: Any) -> Parts:
            if not self.has_experts:
                return (self.feed_forward(x),)
            segments = None if visible is None else visible.query_segments
            y, usage = self.feed_forward(x, real=None if segments is None else ops.not_equal(segments, 0))
            return (y,) if row_key is None else (y, usage)

        attention = (attend, self.attention_norm, self.attention_post_norm, self.attention_dropout_id)
        forward = (feed_forward, self.feed_forward_norm, self.feed_forward_post_norm, self.feed_forward_dropout_id)
        if self.parallel:
            normed = self._before(x_BTD, self.attention_norm)
            attended, *rest = self._branch(normed, *attention, row_key)
            normed = normed if self.feed_forward_norm is None else self.feed_forward_norm(x_BTD)
            branch, *more = self._branch(normed, *forward, row_key)
            x = x_BTD + attended + branch
        else:
            x, *rest = self._sum(x_BTD, *attention, row_key)
            if self.cross_attention is not None:
                norms = (self.cross_attention_norm, self.cross_attention_post_norm)
                (x,) = self._sum(x, attend_across, *norms, self.cross_attention_dropout_id, row_key)
            x, *more = self._sum(x, *forward, row_key)
        return (x, *rest, *more) if rest or more else x

    def _sum(self, x: Any, part: Callable[[Any], Parts], norm: Any, post_norm: Any, dropout_id: int, row_key: Any) -> Parts:
        """The stream after one branch, and what else the branch gives."""
        normed = self._before(x, norm)
        branch, *rest = self._branch(normed, part, norm, post_norm, dropout_id, row_key)
        x = (normed if self.residual == "norm" else x) + branch
        return (norm(x) if self.placement == "post" else x, *rest)

    def _before(self, x: Any, norm: Any) -> Any:
        return norm(x) if self.placement in ("pre", "sandwich") and norm is not None else x

    def _branch(self, normed: Any, part: Callable[[Any], Parts], norm: Any, post_norm: Any, dropout_id: int, row_key: Any) -> Parts:
        """A branch as it is added, and what else it gives."""
        y, *rest = part(normed)
        y = norm(y) if self.placement == "branch_post" else y if post_norm is None else post_norm(y)
        y = dropout(y, self.dropout, row_key, dropout_id)
        return (y if self.residual_scale == 1 else y * ops.cast(self.residual_scale, y.dtype), *rest)
