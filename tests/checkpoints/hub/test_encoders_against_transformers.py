"""Encoder families: a model that transformers made, with every kind of head, is read with its logits and written with its bytes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy as safetensors

from lmkit.cli import main
from lmkit.inference.logits import batch_of, logits_of
from lmkit.run.console import Console
from lmkit.run.open import open_trained
from lmkit.text.build import train_tokenizer
from lmkit.text.export import huggingface_files
from lmkit.text.spec import Bpe

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

VOCAB, LENGTH = 300, 15
TOKENIZER = train_tokenizer(Bpe(vocab_size=VOCAB), ["the quick brown fox jumps over the lazy dog " * 20])
QUIET = Console(out=lambda line: None, err=lambda line: None, write=lambda text: None)
BASE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40, "max_position_embeddings": 40}
DISTIL = {"dim": 24, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 40}
MODERN = {**BASE, "num_hidden_layers": 5, "local_attention": 6, "cls_token_id": 2, "sep_token_id": 3, "pad_token_id": 0}
UNUSUAL = {"attention_bias": True, "mlp_bias": True, "norm_bias": True, "classifier_bias": True, "decoder_bias": False}
SLIDING, FULL = "sliding_attention", "full_attention"
DEBERTA = {**BASE, "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
DEBERTA |= {"share_att_key": True, "norm_rel_ebd": "layer_norm"}
OTHER = {"position_buckets": -1, "max_relative_positions": 9, "pos_att_type": "c2p", "position_biased_input": True, "share_att_key": False}
T5 = {"d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 2, "num_heads": 4, "feed_forward_proj": "gated-gelu"}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("Bert", "ForPreTraining", BASE),
    ("Bert", "ForMaskedLM", {**BASE, "tie_word_embeddings": False, "hidden_act": "relu"}),
    ("Bert", "ForSequenceClassification", {**BASE, "num_labels": 1}),
    ("Bert", "ForSequenceClassification", {**BASE, "num_labels": 3, "problem_type": "multi_label_classification"}),
    ("Bert", "ForTokenClassification", BASE),
    ("Roberta", "ForMaskedLM", {**BASE, "pad_token_id": 0, "type_vocab_size": 1, "hidden_act": "relu"}),
    ("XLMRoberta", "ForSequenceClassification", {**BASE, "pad_token_id": 0, "type_vocab_size": 1}),
    ("Camembert", "ForQuestionAnswering", {**BASE, "pad_token_id": 0, "type_vocab_size": 1}),
    ("DistilBert", "ForMaskedLM", DISTIL),
    ("DistilBert", "ForSequenceClassification", {**DISTIL, "activation": "relu"}),
    ("Albert", "ForPreTraining", {**BASE, "embedding_size": 8}),
    ("Albert", "ForMaskedLM", {**BASE, "embedding_size": 8, "num_hidden_layers": 6, "num_hidden_groups": 2, "inner_group_num": 2}),
    ("Albert", "ForMaskedLM", {**BASE, "embedding_size": 24}),
    ("Electra", "ForPreTraining", {**BASE, "embedding_size": 8}),
    ("Electra", "ForMaskedLM", {**BASE, "embedding_size": 8, "hidden_act": "relu"}),
    ("Electra", "ForSequenceClassification", {**BASE, "embedding_size": 24}),
    ("MPNet", "ForMaskedLM", {**BASE, "pad_token_id": 1}),
    ("MPNet", "Model", {**BASE, "pad_token_id": 1}),
    ("ModernBert", "ForMaskedLM", MODERN),
    ("ModernBert", "ForMaskedLM", {**MODERN, **UNUSUAL, "layer_types": [SLIDING, FULL, FULL, SLIDING, FULL]}),
    ("ModernBert", "ForSequenceClassification", {**MODERN, "classifier_pooling": "mean", "classifier_activation": "relu"}),
    ("ModernBert", "ForQuestionAnswering", {**MODERN, "rope_parameters": {SLIDING: {"rope_theta": 50.0, "rope_type": "default"}}}),
    ("T5", "EncoderModel", T5),
    ("MT5", "EncoderModel", {**T5, "feed_forward_proj": "relu"}),
    ("DebertaV2", "ForMaskedLM", DEBERTA),
    ("DebertaV2", "ForSequenceClassification", {**DEBERTA, **OTHER, "norm_rel_ebd": "none", "type_vocab_size": 2}),
    ("DebertaV2", "ForMaskedLM", {**DEBERTA, "legacy": False}),
    ("DebertaV2", "ForMaskedLM", {**DEBERTA, "conv_kernel_size": 3, "conv_act": "gelu"}),
    ("DebertaV2", "ForTokenClassification", {**DEBERTA, "conv_kernel_size": 5, "position_biased_input": True}),
]


def made(name: str, kind: str, config: dict[str, Any], folder: Path) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, name + kind)(getattr(transformers, f"{name}Config")(vocab_size=VOCAB, **config)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (key.endswith("weight") and parameter.ndim == 1))
    model.tie_weights()
    model.save_pretrained(folder)
    for file, data in huggingface_files(TOKENIZER).items():
        (folder / file).write_bytes(data)
    return model


def inputs(name: str, config: dict[str, Any]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    ids, mask = rng.integers(5, VOCAB, (2, LENGTH)), np.ones((2, LENGTH), np.int64)
    mask[1, 9:] = 0
    given = {"input_ids": np.where(mask > 0, ids, config.get("pad_token_id", 0)), "attention_mask": mask}
    types = name in ("Bert", "Albert", "Electra") or config.get("type_vocab_size", 0) > 1
    return given | ({"token_type_ids": np.broadcast_to(np.arange(LENGTH) > 6, (2, LENGTH)).astype(np.int64)} if types else {})


def expected(output: Any, kind: str) -> list[np.ndarray]:
    match kind:
        case "ForPreTraining" if hasattr(output, "prediction_logits"):
            found = [output.prediction_logits, output[1]]
        case "ForQuestionAnswering":
            found = [torch.stack([output.start_logits, output.end_logits], 1)]
        case "Model" | "EncoderModel":
            found = [output.last_hidden_state]
        case _:
            found = [output.logits]
    return [value.detach().numpy() for value in found]


@pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=[f"{name}{kind}-{i}" for i, (name, kind, _) in enumerate(CASES)])
def test_a_folder_is_read_and_written_again(name: str, kind: str, config: dict[str, Any], tmp_path: Path) -> None:
    model = made(name, kind, config, tmp_path / "in")
    given = inputs(name, config)
    with torch.no_grad():
        theirs = expected(model(**{key: torch.tensor(value) for key, value in given.items()}), kind)
    opened = open_trained(tmp_path / "in", QUIET)
    others = {"token_types": given["token_type_ids"].astype(np.int32)} if "token_type_ids" in given else {}
    found = logits_of(opened.model, opened.spec.tasks, batch_of(given["input_ids"], given["attention_mask"], **others))
    ours = [np.asarray(value) for key, value in found.items() if (key == "hidden") == kind.endswith("Model") and key != "embedding"]
    for one, other in zip(ours, theirs, strict=True):
        real = given["attention_mask"] > 0
        places = next((at for at in range(1, other.ndim) if other.shape[at] == LENGTH), None)
        error = np.abs(one.reshape(other.shape) - other)
        error = error if places is None else np.moveaxis(error, places, 1)[real]
        assert error.max() <= 2e-4 * other.std()
    assert main(["export", str(tmp_path / "in"), str(tmp_path / "out")]) == 0
    for file in (tmp_path / "in").iterdir():
        if file.suffix == ".json":
            assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name
    assert stored(tmp_path / "in") == stored(tmp_path / "out")


def stored(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Dtype, shape and bytes of every tensor."""
    data = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    begin = 8 + size
    spans = {key: tuple(begin + at for at in one["data_offsets"]) for key, one in header.items()}
    return {key: (f"{one['dtype']} {one['shape']}", data[slice(*spans[key])]) for key, one in header.items()}


def test_an_encoder_whose_table_is_under_its_own_name_alone_is_read(tmp_path: Path) -> None:
    made("T5", "EncoderModel", T5, tmp_path / "in")
    file = tmp_path / "in" / "model.safetensors"
    other = tmp_path / "other.safetensors"
    tensors = {key.replace("shared", "encoder.embed_tokens"): value for key, value in safetensors.load_file(file).items()}
    safetensors.save_file(tensors, other, {"format": "pt"})
    both = [open_trained(tmp_path / "in", QUIET)]
    other.replace(file)
    both.append(open_trained(tmp_path / "in", QUIET))
    rows = batch_of(np.arange(5, 5 + LENGTH)[None])
    one, two = (np.asarray(logits_of(opened.model, opened.spec.tasks, rows)["embedding"]) for opened in both)
    np.testing.assert_array_equal(one, two)
