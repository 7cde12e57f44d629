"""The same rows through transformers, where it happens to be installed: whether others open what was written, with the same logits."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmkit.checkpoints.hub.folder import read_config
from lmkit.errors import CheckpointError, Problem

OUTPUTS = {"masked_lm": ("prediction_logits", "logits"), "next_sentence": ("seq_relationship_logits", "logits")}


def transformers_logits(folder: Path, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """What the class that the folder names gives for a batch, by its names of outputs; None where transformers or torch is absent.

    Raises CheckpointError where the class does not open the folder.
    """
    try:
        import torch
        import transformers
    except ImportError:
        return None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    name = read_config(folder)["architectures"][0]
    inputs = {"input_ids": batch["tokens"], "attention_mask": batch["segments"]}
    if name.endswith("ForMultipleChoice"):
        inputs = {key: value[:, None] for key, value in inputs.items()}
    if "decoder/tokens" in batch:
        inputs["decoder_input_ids"] = batch["decoder/tokens"]
    try:
        model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32, use_safetensors=True).eval()
        if hasattr(model.config, "_experts_implementation"):
            model.config._experts_implementation = "eager"  # their grouped kernel wants widths in multiples of 16 bytes
        with torch.no_grad():
            made = model(**{key: torch.tensor(value.astype(np.int64)) for key, value in inputs.items()})
    except Exception as error:
        what = f"transformers {transformers.__version__} does not open it: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
        raise CheckpointError(Problem(what, where=str(folder))) from None
    return {key: value.numpy() for key, value in made.items() if isinstance(value, torch.Tensor)}


def output_of(found: Mapping[str, np.ndarray], kind: str) -> np.ndarray | None:
    """Of those outputs, the one that a task of ours means; `hidden` is the body's. None where the class does not give it."""
    if kind == "question_answering" and "start_logits" in found:
        return np.stack([found["start_logits"], found["end_logits"]], axis=1)
    names = ("last_hidden_state",) if kind == "hidden" else OUTPUTS.get(kind, ("logits",))
    return next((found[name] for name in names if name in found), None)
