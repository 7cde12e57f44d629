"""A small model of a spec's body and custom heads, and a batch for it: what the contract of the rooms is tried on."""

from typing import Any

import numpy as np
from keras import ops

from lmkit.heads.model import Model
from lmkit.layers.build import require_named_weights
from lmkit.layers.weights import Normal
from lmkit.models.build import build_backbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import SIDES, Body, EncoderDecoder, Stack
from lmkit.run.body import body_of
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import Classification

ROWS, LENGTH, VOCAB, LABELS = 3, 8, 64, 3
REAL = np.arange(LENGTH) < np.array([[8], [6], [5]])  # the tokens of each row that are no padding


class Trial:
    """A model of the spec's body, with few layers and tokens, and of its custom heads."""

    def __init__(self, spec: RunSpec) -> None:
        self.body = _few_layers(body_of(spec))
        own = {name: task for name, task in spec.tasks.items() if isinstance(task, Classification) and not task.pools}
        self.heads = own
        self.model = self.made()
        random = np.random.default_rng(0)
        tokens = random.permutation(np.arange(ROWS * LENGTH) + 5).reshape(ROWS, LENGTH).astype(np.int32)
        segments, positions = REAL.astype(np.int32), np.tile(np.arange(LENGTH, dtype=np.int32), (ROWS, 1))
        self.batch: dict[str, np.ndarray] = {"tokens": tokens, "segments": segments, "positions": positions}
        if isinstance(self.body, EncoderDecoder):
            self.batch |= {f"decoder/{name}": value for name, value in self.batch.items()}
        for name in own:
            self.batch |= {f"{name}/labels": np.arange(ROWS, dtype=np.int32), f"{name}/weights": np.ones(ROWS, np.float32)}
        self.row_key = np.arange(ROWS, dtype=np.uint32) + 9
        self.toward = random.normal(size=(ROWS, LENGTH, self.model.backbone.hidden_size)).astype(np.float32) * REAL[..., None]

    def made(self, **options: Any) -> Model:
        """The model, the same each time, its weights large enough for every part to matter."""
        backbone: Any = build_backbone(self.body, vocab_size=VOCAB, max_length=LENGTH, **options)
        heads = {
            name: build_head(task, name, backbone=backbone, model_spec=self.body, num_labels=LABELS) for name, task in self.heads.items()
        }
        model = Model(backbone, heads)
        require_named_weights(model)
        initialize(model, 3)
        for weight in model.weights:
            if isinstance(weight.described.start, Normal):
                weight.assign(weight * 10)
        return model

    def outputs(self, model: Model, batch: dict[str, Any], row_key: Any = None) -> dict[str, Any]:
        """The body's hidden states, and the losses and logits' answers of the custom heads."""
        found = {"hidden": model.hidden(batch, row_key)}
        for name, out in model(batch, row_key=row_key).items() if self.heads else ():
            found |= {f"{name}.{key}": value for key, value in out.items()}
        return found

    def loss(self, model: Model, batch: dict[str, Any], row_key: Any) -> Any:
        """One number that everything has a part in."""
        found = self.outputs(model, batch, row_key)
        losses = [ops.sum(value) for name, value in found.items() if name.endswith(".loss")]
        return ops.sum(ops.cast(found["hidden"], "float32") * self.toward) + sum(losses)


def _few_layers(body: Body) -> Body:
    """The body with as many layers as show all that its patterns have."""

    def fewer(stack: Stack) -> dict[str, Any]:
        if stack.layer_groups is not None or stack.num_layers is None:
            return {}
        needed = max(2, len(stack.attention.window), len(stack.attention.rotary), len(stack.feed_forward))
        return {"num_layers": min(stack.num_layers, needed)}

    if isinstance(body, EncoderDecoder):
        sides: dict[str, Any] = {name: getattr(body, name).model_copy(update=fewer(body.side(name))) for name in SIDES}
        return body.model_copy(update=sides)
    return body.model_copy(update=fewer(body))
