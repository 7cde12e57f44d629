"""Which keys a query may see, and how the scores are treated."""

from typing import Annotated, Literal

from pydantic import Field

from lmkit.spec import ONE_OR_MORE, Count, Rate, Spec

Window = Literal["full"] | Count


class Attention(Spec):
    """Multi-head attention; head counts stand beside `hidden_size` in the model."""

    window: Annotated[tuple[Window, ...], ONE_OR_MORE] = Field(
        ("full",),
        description="Keys a query sees, in tokens: causal, itself and the window - 1 before it; otherwise window to each side. "
        "A list is a pattern repeated over the layers.",
    )
    dropout: Rate | None = Field(None, description="Dropout of the attention probabilities; default: model.dropout.")
    bias: bool | None = Field(None, description="Biases of the four projections; default: model.bias.")

    def window_of(self, layer: int) -> int | None:
        """The window of that layer: the pattern repeated over depth; None sees all."""
        window = self.window[layer % len(self.window)]
        return None if window == "full" else window
