"""Qwen 3 with mixtures of experts, in all layers or some (Alibaba, 2025)."""

from typing import Any

from lmkit.checkpoints.hub.families.llama import ROOT_MEAN_SQUARE, SIZES, WEIGHTS, classes
from lmkit.checkpoints.hub.families.qwen3 import NORMS
from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.fields import Config, Entry, attention_bias, field, fixed, several, whole
from lmkit.checkpoints.hub.layers import mixture, one_window
from lmkit.checkpoints.hub.rope import rope
from lmkit.checkpoints.hub.words import Flat, each_layer

EXPERTS = """
layers.{i}.mlp.gate = decoder.layers.{i}.feed_forward.router lin
layers.{i}.mlp.experts.{e}.(gate|up|down)_proj = decoder.layers.{i}.feed_forward.(gate|up|down) lin
"""


def _sparse(config: Config, layers: int) -> list[bool]:
    dense, step = several(config, "mlp_only_layers", []), whole(config, ("decoder_sparse_step",), 1, least=1)
    return [i not in dense and (i + 1) % step == 0 for i in range(layers)]


def _dense_layers() -> Entry:
    """`mlp_only_layers`, which can say any pattern."""

    def write(flat: Flat, config: dict[str, Any]) -> None:
        kinds = [part["kind"] for part in each_layer(flat, "feed_forward")]
        config |= {"decoder_sparse_step": 1, "mlp_only_layers": [i for i, kind in enumerate(kinds) if kind != "mixture"]}

    return Entry(lambda config, flat: None, write)


def _weights(flat: Flat) -> str:
    """In a layer of experts their parts stand one by one; the names of ours do not tell which layers those are."""
    sparse = [i for i, part in enumerate(each_layer(flat, "feed_forward")) if part["kind"] == "mixture"]
    experts = [line.replace("{i}", str(i)) for i in sparse for line in EXPERTS.splitlines()]
    return "\n".join(experts) + "\n" + WEIGHTS + NORMS


FAMILY = Family(
    model_type="qwen3_moe",
    silent={"num_key_value_heads": 4},
    bare="Qwen3MoeModel",
    classes=classes("Qwen3Moe"),
    config=(
        *SIZES,
        *ROOT_MEAN_SQUARE,
        fixed(attention__qk_norm="head"),
        attention_bias(default=False),
        field("head_dim", "head_dim", default=None),
        rope(),
        one_window(4096, switch="use_sliding_window"),
        mixture(
            "moe_intermediate_size",
            ("num_experts", "num_local_experts"),
            "num_experts_per_tok",
            renormalize="norm_topk_prob",
            sparse=_sparse,
        ),
        _dense_layers(),
    ),
    weights=_weights,
)
