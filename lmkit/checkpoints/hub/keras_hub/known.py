"""The keras-hub models that lmkit knows; the order is that in which a model of our own words looks for one that fits."""

from lmkit.checkpoints.hub.family import Family
from lmkit.checkpoints.hub.keras_hub.families import bert, gpt2, llama

PRESETS: tuple[Family, ...] = (bert.FAMILY, gpt2.FAMILY, llama.LLAMA3, llama.LLAMA)
CAUSAL = {"GPT2Backbone": "GPT2CausalLM", "Llama3Backbone": "Llama3CausalLM", "LlamaBackbone": "LlamaCausalLM"}  # heads without weights
SPARE = {  # what a body has in keras-hub though no head of ours reads it: its shape by keys of the config
    "BertBackbone": {
        "model.weights.h5/layers/dense/vars/0": ("hidden_dim", "hidden_dim"),
        "model.weights.h5/layers/dense/vars/1": ("hidden_dim",),
    }
}
