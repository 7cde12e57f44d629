"""What every head shares: its task's name, the way it wants the body to look, and where its weights stand."""

from typing import Any

import keras

from lmkit.layers.layer import Layer


class Head(Layer):
    """A layer named after its task that turns hidden states into a loss and predictions.

    `call(hidden_BTD, *, batch, embedding, row_key=None)` returns `loss`, `weight` and `correct`, float32 [B], and
    `predicted`. `batch` holds `{name}/labels` and `{name}/weights`; `embedding` is the body's token table [V, D]. `causal`
    True or False is the mask that the task needs, None the body's own.
    """

    causal: bool | None = None

    def needs(self) -> str:
        """The key that a batch has iff this task takes part in it."""
        return f"{self.name}/labels"

    def prepared(self, batch: dict[str, Any], *, embedding: Any, row_key: Any = None) -> dict[str, Any]:
        """What the body is to read in the place of a batch that this head takes part in."""
        return batch


def build_named(head: Any) -> Any:
    """Builds a head under its canonical name, `heads.{task}`, unless that is done."""
    if not head.built:
        with keras.name_scope("model"), keras.name_scope("heads"):
            head.build()
    return head
