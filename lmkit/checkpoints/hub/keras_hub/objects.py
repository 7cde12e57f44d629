"""The JSON objects of a preset: how keras-hub 0.32 writes a backbone, a task and its preprocessor."""

import re
from collections.abc import Mapping
from typing import Any

STEMS = {"Bert": "bert", "GPT2": "gpt2", "Llama3": "llama3", "Llama": "llama"}
PARTS = ("Backbone", "MaskedLM", "CausalLM", "TextClassifier", "TextEmbedder", "Preprocessor")
Object = dict[str, Any]


def snake(name: str) -> tuple[str, str]:
    """The module of a class and its name there: `BertMaskedLM` is `bert`, `bert_masked_lm`."""
    stem = next(stem for stem in STEMS if name.startswith(stem))
    words = re.findall(r"[A-Z][a-z]+|LM", name.removeprefix(stem))
    return STEMS[stem], "_".join([STEMS[stem], *(word.lower() for word in words)])


def made(name: str, config: Mapping[str, Any], dtype: str = "") -> Object:
    """An object of a class; layers have a dtype, tasks have none."""
    stem, called = snake(name)
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": dtype}, "registered_name": None}
    own = {"name": called, **({"trainable": True, "dtype": policy} if dtype else {})}
    module = f"keras_hub.src.models.{stem}.{called}"
    return {"module": module, "class_name": name, "config": {**own, **config}, "registered_name": f"keras_hub>{name}"}


def preprocessor(task: str, tokenizer: Object, packing: Mapping[str, Any], length: int) -> Object:
    """What turns text into the inputs of a task."""
    config = {"tokenizer": tokenizer, "config_file": "preprocessor.json", "sequence_length": length, **packing}
    return made(f"{task}Preprocessor", config, "float32")
