"""Mixture of experts: a router picks a few feed-forward parts for each token (Shazeer et al., 2017; Mixtral, Jiang et al. 2024)."""

from typing import Any

from keras import ops

from lmkit.layers.activations import activation
from lmkit.layers.layer import Layer
from lmkit.layers.linear import Linear
from lmkit.layers.weights import Normal, add_weight


def route(logits_NE: Any, chosen: int, *, renormalize: bool) -> tuple[Any, Any, Any]:
    """For each token the weight of every expert, 0 for all but the best `chosen`; which those are; and the probabilities of all.

    Three float32 [N, E]. The weights are the softmax over all experts, made to sum to 1 again where asked.
    """
    probabilities = ops.softmax(ops.cast(logits_NE, "float32"), axis=-1)
    _, best = ops.top_k(probabilities, chosen)
    picked = ops.sum(ops.one_hot(best, ops.shape(probabilities)[-1], dtype="float32"), axis=1)
    weights = probabilities * picked
    if renormalize:
        weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    return weights, picked, probabilities


def imbalance(usage_B2E: Any, tokens_B: Any, num_experts: int) -> Any:
    """float32 [B]: E sum_e (share of the tokens sent to e) (mean probability of e), over a row's tokens (Switch Transformer).

    `usage` holds, summed over the tokens, how often each expert was picked, and its probability. 1 for each expert that a
    token is sent to is the least, at even use.
    """
    picked, probability = ops.unstack(usage_B2E / ops.reshape(ops.maximum(tokens_B, 1.0), (-1, 1, 1)), axis=1)
    return num_experts * ops.sum(ops.stop_gradient(picked) * probability, axis=-1)


class Experts(Layer):
    """One projection of every expert: kernels [E, in, out], without biases."""

    def __init__(
        self, num_experts: int, size_in: int, size_out: int, *, axes: tuple[str, str], stddev: float = 0.02, **options: Any
    ) -> None:
        super().__init__(**options)
        self.num_experts, self.size_in, self.size_out, self.axes, self.stddev = num_experts, size_in, size_out, tuple(axes), stddev

    def build(self, input_shape: Any = None) -> None:
        shape = (self.num_experts, self.size_in, self.size_out)
        self.kernel = add_weight(self, "kernel", shape, Normal(self.stddev), ("experts", *self.axes))

    def call(self, x: Any) -> Any:
        """x [N, in], the same for all experts, or [E, N, in] -> [E, N, out]."""
        return ops.matmul(x, ops.cast(self.kernel, x.dtype))


class MixtureFeedForward(Layer):
    """sum over the picked experts e of weight_e (activation(x W_gate_e) * (x W_up_e)) W_down_e; not `gated`, without the gate.

    Every expert computes every token and the weights of the others are 0: shapes stay static and no token is ever dropped,
    for E / k times the arithmetic that the model needs. The router computes in float32. `balance_weight` is only read here
    by who adds up the loss.
    """

    def __init__(
        self,
        hidden_size: int,
        intermediate_size: int,
        *,
        num_experts: int,
        experts_per_token: int,
        renormalize: bool = True,
        activation: str = "silu",
        gated: bool = True,
        balance_weight: float = 0.01,
        output_stddev: float = 0.02,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.hidden_size, self.intermediate_size, self.num_experts = hidden_size, intermediate_size, num_experts
        self.experts_per_token, self.renormalize, self.activation = experts_per_token, renormalize, activation
        self.gated, self.balance_weight, self.output_stddev = gated, balance_weight, output_stddev
        shared = {"dtype": self.dtype_policy}
        inward = {"axes": ("hidden", "feed_forward"), **shared}
        self.router = Linear(hidden_size, num_experts, bias=False, axes=("hidden", "experts"), name="router", **shared)
        self.gate = Experts(num_experts, hidden_size, intermediate_size, name="gate", **inward) if gated else None
        self.up = Experts(num_experts, hidden_size, intermediate_size, name="up", **inward)
        out = {"axes": ("feed_forward", "hidden"), "stddev": output_stddev, **shared}
        self.down = Experts(num_experts, intermediate_size, hidden_size, name="down", **out)

    def build(self, input_shape: Any = None) -> None:
        for part in (self.router, self.gate, self.up, self.down):
            if part is not None:
                part.build()

    def call(self, x_BTD: Any, *, real: Any = None) -> tuple[Any, Any]:
        """[B, T, D] and how the experts were used, float32 [B, 2, E] for `imbalance`, by the tokens that are `real` [B, T]."""
        batch, length, width = ops.shape(x_BTD)
        x = ops.reshape(x_BTD, (-1, width))
        logits = self.router(ops.cast(x, "float32"))
        weights, picked, probabilities = route(logits, self.experts_per_token, renormalize=self.renormalize)
        hidden = activation(self.activation)(self.up(x) if self.gate is None else self.gate(x))
        hidden = hidden if self.gate is None else hidden * self.up(x)
        hidden = hidden * ops.cast(ops.expand_dims(ops.transpose(weights), -1), hidden.dtype)
        y = ops.sum(self.down(hidden), axis=0)
        usage = ops.reshape(ops.stack([picked, probabilities], axis=1), (batch, length, 2, self.num_experts))
        if real is not None:
            usage = usage * ops.cast(ops.reshape(real, (batch, length, 1, 1)), "float32")
        return ops.reshape(y, (batch, length, width)), ops.sum(usage, axis=1)
