"""Presets made by keras-hub itself, with all weights random."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "quick", "brown", "fox", "##es", "jump", "##ed", ".", ",", "Über"]
LETTERS = list(dict.fromkeys("!thequickbrownfoxjumped.,Ġ"))
MERGES = ["Ġ t", "h e", "Ġt he"]
LLAMA3 = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
TEXTS = ("The quick brown foxes jumped.", "the fox, the  fox", "foxes", "the the. quick, brown")
STRETCHED = {
    "rope_frequency_adjustment_factor": 8.0,
    "rope_low_freq_factor": 1.0,
    "rope_high_freq_factor": 4.0,
    "rope_pretraining_sequence_length": 8,
}


@dataclass(frozen=True)
class Made:
    """A preset, the model that it was saved from, its tokenizer, and texts in its words."""

    path: Path
    model: Any
    tokenizer: Any
    texts: tuple[str, ...] = TEXTS

    def logits(self, tokens: np.ndarray, real: np.ndarray, types: np.ndarray, model: Any = None) -> np.ndarray:
        """What the task says, or another model of its kind."""
        inputs = {"token_ids": tokens, "padding_mask": real, "segment_ids": types}
        inputs["mask_positions"] = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
        model = model or self.model
        return np.asarray(model({name: inputs[name] for name in model.input}))

    def opened(self, path: Path, **more: Any) -> Any:
        """What keras-hub makes of another preset of the task."""
        return type(self.model).from_preset(str(path), **more)


def shaken(model: Any) -> Any:
    """The model with every weight drawn anew, norms and biases too, so that a mix-up shows."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        weight.assign(rng.normal(1.0 if "scale" in weight.path or "gamma" in weight.path else 0.0, 0.3, weight.shape))
    return model


def bert_tokenizer() -> Any:
    from keras_hub.models import BertTokenizer

    return BertTokenizer(vocabulary=WORDS, lowercase=True)


def gpt2_tokenizer() -> Any:
    from keras_hub.models import GPT2Tokenizer

    pieces = [*LETTERS, "Ġt", "he", "Ġthe", "<|endoftext|>"]
    return GPT2Tokenizer(vocabulary={piece: i for i, piece in enumerate(pieces)}, merges=MERGES)


def llama3_tokenizer() -> Any:
    from keras_hub.models import Llama3Tokenizer

    pieces = [*LETTERS, "Ġt", "he", "Ġthe", *LLAMA3]
    return Llama3Tokenizer(vocabulary={piece: i for i, piece in enumerate(pieces)}, merges=MERGES)


def bert() -> Any:
    from keras_hub.models import BertBackbone

    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 20}
    return BertBackbone(vocabulary_size=17, max_sequence_length=16, num_segments=3, **sizes)


def gpt2(**more: Any) -> Any:
    from keras_hub.models import GPT2Backbone

    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 20}
    return GPT2Backbone(vocabulary_size=32, max_sequence_length=16, **sizes, **more)


def llama3(**more: Any) -> Any:
    from keras_hub.models import Llama3Backbone

    sizes = {"num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 16, "intermediate_dim": 24}
    return Llama3Backbone(vocabulary_size=36, rope_max_wavelength=500, **sizes, **more)


def task(name: str) -> tuple[Any, Any]:
    """A task of keras-hub by a name of ours, with its tokenizer."""
    import keras_hub.models as m

    match name:
        case "bert_mlm":
            words = bert_tokenizer()
            return m.BertMaskedLM(bert(), m.BertMaskedLMPreprocessor(words, sequence_length=12)), words
        case "bert_classes":
            words = bert_tokenizer()
            packer = m.BertTextClassifierPreprocessor(words, sequence_length=12)
            return m.BertTextClassifier(bert(), num_classes=3, preprocessor=packer), words
        case "bert_embedder":
            words = bert_tokenizer()
            return m.BertTextEmbedder(bert(), m.BertTextEmbedderPreprocessor(words, sequence_length=12), pooling_mode="cls"), words
        case "gpt2":
            words = gpt2_tokenizer()
            return m.GPT2CausalLM(gpt2(), m.GPT2CausalLMPreprocessor(words, sequence_length=12)), words
        case "llama3_tied":
            words = llama3_tokenizer()
            body = llama3(tie_word_embeddings=True, **STRETCHED)
            return m.Llama3CausalLM(body, m.Llama3CausalLMPreprocessor(words, add_end_token=False)), words
    words = llama3_tokenizer()
    return m.Llama3CausalLM(llama3(), m.Llama3CausalLMPreprocessor(words)), words


NAMES = ("bert_mlm", "bert_classes", "bert_embedder", "gpt2", "llama3", "llama3_tied")


@pytest.fixture(scope="session")
def presets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Made]:
    """A preset of each task."""
    root, found = tmp_path_factory.mktemp("presets"), {}
    for name in NAMES:
        model, tokenizer = task(name)
        shaken(model).save_to_preset(str(root / name))
        found[name] = Made(root / name, model, tokenizer)
    return found


@pytest.fixture(params=NAMES)
def preset(request: pytest.FixtureRequest, presets: dict[str, Made]) -> Made:
    """Each of them."""
    return presets[request.param]


@pytest.fixture
def half(presets: dict[str, Made], tmp_path: Path) -> Made:
    """A body alone, in bfloat16."""
    body = shaken(gpt2(dtype="bfloat16"))
    body.save_to_preset(str(tmp_path / "half"))
    presets["gpt2"].tokenizer.save_to_preset(str(tmp_path / "half"))
    return Made(tmp_path / "half", body, presets["gpt2"].tokenizer)
