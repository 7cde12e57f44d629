"""Models that were only declared, as folders of others: what has no place there is said in another way, or refused by its word."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmkit.checkpoints.hub.read import read_folder
from lmkit.checkpoints.hub.write import Outgoing, write_folder
from lmkit.errors import CheckpointError
from lmkit.models.build import build_backbone
from lmkit.models.derive import resolved
from lmkit.models.spec import Encoder
from lmkit.run.model import variables_of
from lmkit.tasks.build import build_head
from lmkit.tasks.spec import AnyTask, MaskedLm, Regression, SentenceEmbedding

POST = {"num_layers": 1, "hidden_size": 16, "num_heads": 2, "norm": {"kind": "layer_norm", "placement": "post"}}
PRE = {**POST, "norm": {"kind": "layer_norm", "placement": "pre"}}


def written(folder: Path, task: AnyTask, **words: Any) -> str:
    """Writes a model of these words with random weights that has one task; the class that opens it."""
    from lmkit.heads.model import Model

    spec = resolved(Encoder.model_validate(words), max_length=24)
    backbone = build_backbone(spec, vocab_size=40, max_length=24)
    model = Model(backbone, {"task": build_head(task, "task", backbone=backbone, model_spec=spec)})
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(0, 1, variable.shape).astype(np.float32) for name, variable in variables_of(model).items()}
    return write_folder(folder, Outgoing(spec, {"task": task}, {}, 40, 24, {"pad": 0}), tensors)


def test_an_encoder_without_token_types_has_one_that_adds_nothing(tmp_path: Path) -> None:
    assert written(tmp_path / "out", MaskedLm(mask_rate=0.3, whole_word=True), **POST) == "BertForMaskedLM"
    read = read_folder(tmp_path / "out")
    assert read.model["token_types"] == 1
    assert not read.folder.tensors["bert.embeddings.token_type_embeddings.weight"].floats().any()
    assert written(tmp_path / "two", MaskedLm(), **POST, token_types=2) == "BertForMaskedLM"
    assert read_folder(tmp_path / "two").folder.tensors["bert.embeddings.token_type_embeddings.weight"].floats().any()


@pytest.mark.parametrize(("pooling", "normalize"), [("mean", True), ("first", False), ("last", True)])
def test_a_sentence_encoder_says_how_it_pools(tmp_path: Path, pooling: Any, normalize: bool) -> None:
    task = SentenceEmbedding(pooling=pooling, normalize=normalize)
    assert written(tmp_path / "out", task, **POST, token_types=2) == "BertModel"
    assert read_folder(tmp_path / "out").tasks == {"embedding": {"kind": "sentence_embedding", "pooling": pooling, "normalize": normalize}}
    assert len(json.loads((tmp_path / "out" / "modules.json").read_text())) == (3 if normalize else 2)


def test_where_a_family_has_the_body_the_word_is_one_of_the_task(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model: tasks\.pooling: mean cannot be said by BertForSequenceClassification"):
        written(tmp_path / "out", Regression(pooling="mean"), **POST | {"norm": {**POST["norm"], "epsilon": 1e-12}}, token_types=2)


def test_what_no_family_has_is_refused_by_its_word_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be said by"):
        written(tmp_path / "out", MaskedLm(), **PRE)
    assert not list(tmp_path.iterdir())
