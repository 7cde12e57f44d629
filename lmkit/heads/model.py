"""A whole model: one body and the heads of its tasks."""

from typing import Any

from lmkit.attention.multi_head import Collect
from lmkit.heads.head import Head, build_named
from lmkit.heads.vocabulary import VocabularyHead
from lmkit.layers.layer import Layer
from lmkit.models.backbone import Backbone
from lmkit.models.encoder_decoder import EncoderDecoderBackbone


class Model(Layer):
    """Runs the body once over a batch and every head whose keys are in it; `prefix_length` is that of the mask, where it is there.

    Beside an encoder, heads read the decoder's hidden states: `decoder/tokens`, `decoder/segments` and `decoder/positions`
    of the batch are its own. Parts that are not built yet are built here, each as its own root, so that weight names do not
    depend on the container.
    """

    def __init__(self, backbone: Backbone | EncoderDecoderBackbone, heads: dict[str, Head], **options: Any) -> None:
        super().__init__(**{"name": "model"} | options)
        if any(name != head.name for name, head in heads.items()):
            raise ValueError(f"heads {list(heads)} are named {[head.name for head in heads.values()]}")
        if not backbone.built:
            backbone.build()
        self.backbone = backbone
        self.heads = {name: build_named(head) for name, head in heads.items()}
        self.built = True

    def score_in_chunks(self, tokens: int | None) -> None:
        """Heads over the vocabulary compute their losses for so many tokens at a time; None: for all at once."""
        for layer in self._flatten_layers():
            if isinstance(layer, VocabularyHead):
                layer.chunk = tokens

    def causal_in(self, batch: dict[str, Any]) -> bool:
        """Whether queries see only the past: what the batch's tasks need, or the body's own way where they do not mind."""
        wishes = {head.causal for head in self.heads.values() if head.needs() in batch} - {None}
        if len(wishes) > 1:
            raise ValueError("a batch mixes tasks that need a causal mask with tasks that need both sides")
        return bool(wishes.pop()) if wishes else self.backbone.causal

    def hidden(self, batch: dict[str, Any], row_key: Any = None, collect: Collect | None = None, causal: bool | None = None) -> Any:
        """Hidden states [B, T, D] for the batch's tasks, under their mask unless `causal` says otherwise."""
        given = {name: batch.get(name) for name in ("segments", "positions", "token_types")}
        if isinstance(self.backbone, EncoderDecoderBackbone):
            own = {f"decoder_{name}": batch.get(f"decoder/{name}") for name in ("tokens", "segments", "positions")}
            return self.backbone(batch["tokens"], row_key=row_key, collect=collect, **given, **own)
        given |= {"causal": self.causal_in(batch) if causal is None else causal, "prefix_length": batch.get("prefix_length")}
        return self.backbone(batch["tokens"], row_key=row_key, collect=collect, **given)

    def call(self, batch: dict[str, Any], row_key: Any = None) -> dict[str, dict[str, Any]]:
        """For each task of the batch `loss`, `weight` and `correct`, float32 [B], and `predicted`; `row_key` None is inference.

        In training, a body with mixtures of experts adds `balance`, float32 [B]: what their uneven use costs a row, times
        the row's weight in the task, so that it is divided by the task's denominator as the loss is.
        """
        seen: dict[str, Any] = {}
        embedding = self.backbone.token_embedding
        for head in self.heads.values():
            if head.needs() in batch:
                batch = head.prepared(batch, embedding=embedding, row_key=row_key)
        hidden = self.hidden(batch, row_key, None if row_key is None else seen.__setitem__)
        read = batch | {"segments": batch["decoder/segments"]} if "decoder/segments" in batch else batch
        results = {
            name: head(hidden, batch=read, embedding=embedding, row_key=row_key)
            for name, head in self.heads.items()
            if head.needs() in batch
        }
        if "balance" not in seen:
            return results
        return {name: out | {"balance": seen["balance"] * out["weight"]} for name, out in results.items()}
