"""What a decoder writes beside an encoder is what it writes without a cache."""

from typing import Any

import numpy as np
import pytest

from lmkit.generation.build import build_generator
from lmkit.generation.cached import CachedEncoderDecoder
from lmkit.generation.settings import Settings
from lmkit.models.build import build_backbone
from lmkit.models.encoder_decoder import EncoderDecoderBackbone
from lmkit.models.initialize import initialize
from lmkit.models.spec import EncoderDecoder
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import Seq2seq

VOCAB, START, NEW = 30, 1, 10
PROMPTS = [[7, 3, 9, 4, 12], [5, 6], [8, 8, 2, 29]]
MEMBERS: dict[str, dict[str, Any]] = {
    "relative": {"position": "relative", "norm": "rms_norm", "tie_embeddings": "inputs", "decoder": {"num_layers": 3}},
    "learned": {
        "position": {"kind": "learned", "offset": 2},
        "norm": {"kind": "layer_norm", "placement": "post"},
        "output": {"bias": True},
    },
    "rotary": {"position": "rotary", "num_kv_heads": 2, "tie_embeddings": "none"},
}


def made(member: str) -> tuple[EncoderDecoderBackbone, CachedEncoderDecoder]:
    words = {"num_layers": 2, "hidden_size": 16, "num_heads": 4, "start_id": START}
    spec = EncoderDecoder.model_validate(words | MEMBERS[member])
    body = build_backbone(spec, vocab_size=VOCAB, max_length=16)
    head = build_head(Seq2seq(), "it", backbone=body, model_spec=spec)
    for part in (body, head):
        initialize(part, 5)
        for weight in part.weights:  # far from ties
            weight.assign(8 * weight.value if len(weight.shape) > 1 else weight.value)
    return body, CachedEncoderDecoder(body, head, start=START, context=16)


def greedily(model: CachedEncoderDecoder, prompt: list[int]) -> list[int]:
    """One whole pass for each token."""
    written = [START]
    for _ in range(NEW):
        hidden = model.backbone(np.array([prompt], np.int32), decoder_tokens=np.array([written], np.int32))
        written.append(int(np.asarray(model.logits(hidden))[0].argmax()))
    return written[1:]


@pytest.mark.parametrize("member", MEMBERS)
def test_what_is_written_with_a_memory_and_a_cache_is_what_whole_passes_give(member: str) -> None:
    _, model = made(member)
    found = build_generator(model, Settings(temperature=0.0)).generate(PROMPTS, max_tokens=NEW)
    expected = [greedily(model, prompt) for prompt in PROMPTS]
    assert [one.ids for one in found] == expected
    assert len({token for ids in expected for token in ids}) > 3


@pytest.mark.parametrize("member", MEMBERS)
def test_one_beam_searches_what_greedy_writes(member: str) -> None:
    from lmkit.generation.beams import BeamSearch

    _, model = made(member)
    found = BeamSearch(model, Settings(beams=1)).generate(PROMPTS, max_tokens=NEW)
    assert [one.ids for one in found] == [greedily(model, prompt) for prompt in PROMPTS]
