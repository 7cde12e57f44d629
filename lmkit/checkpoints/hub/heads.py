"""Which tasks a folder's model does, and under which names we keep them."""

from collections.abc import Mapping
from typing import Any

from lmkit.checkpoints.hub.family import Family, Head
from lmkit.checkpoints.hub.fields import refuse, share, whole, wrong
from lmkit.checkpoints.hub.folder import Folder
from lmkit.errors import CheckpointError, Problem

NAMES = {"causal_lm": "lm", "masked_lm": "mlm", "next_sentence": "nsp", "sentence_order": "sop", "sentence_embedding": "embedding"}
LABELLED = ("classification", "token_classification")
DROPPED = (*LABELLED, "regression", "multiple_choice", "question_answering")
POOLING = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "last",
}
SEVERAL = "multi_label_classification"  # what problem_type says of labels that are a yes or no each
PROBLEMS = (None, "single_label_classification", SEVERAL, "regression")
Tasks = dict[str, dict[str, Any]]


def tasks_of(family: Family, folder: Folder, config: Mapping[str, Any]) -> tuple[Tasks, dict[str, tuple[str, ...]]]:
    """The words of every task by its name, and the labels of those that have some.

    A model without a head of its own gives sentence embeddings. Raises CheckpointError for a class that is none of the family's.
    """
    heads = list(_heads(family, config))
    heads += [
        head
        for others in family.classes.values()
        for head in others
        if head.marker in folder.tensors and head.kind not in {known.kind for known in heads}
    ]
    if not heads:
        return {"embedding": {"kind": "sentence_embedding", **_pooling(folder)}}, {}
    problem = config.get("problem_type")
    if problem not in PROBLEMS:
        raise wrong(config, ("problem_type",), f"{' or '.join(PROBLEMS[1:])}")
    tasks: Tasks = {}
    labels = {}
    for head in heads:
        names = labels_of(config)
        kind, words = head.kind, head.read(config)
        if kind == "classification" and problem == SEVERAL:
            words["multi_label"] = True
            if len(names) < 2:
                raise refuse(f"problem_type: {SEVERAL} needs two labels or more")
        elif kind == "classification" and (problem == "regression" or len(names) == 1):
            kind = "regression"
        name = NAMES.get(kind, kind)
        if kind in DROPPED:
            words["dropout"] = share(config, family.head_dropout, 0.0)
        if kind in LABELLED:
            labels[name] = names
            words["labels"] = list(names)
        tasks[name] = {"kind": kind, **words}
    return tasks, labels


def _heads(family: Family, config: Mapping[str, Any]) -> tuple[Head, ...]:
    named = config.get("architectures") or [family.bare]
    if not isinstance(named, list) or not named or not isinstance(named[0], str):
        raise refuse("architectures is no list of class names")
    if named[0] == family.bare:
        return ()
    if named[0] not in family.classes:
        known = ", ".join((family.bare, *family.classes))
        raise refuse(f"architectures: {named[0][:60]} is not supported; of {family.model_type} lmkit reads {known}")
    return family.classes[named[0]]


def labels_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The label names of a config. Raises CheckpointError where it does not number them."""
    named = config.get("id2label")
    if named is None:
        return tuple(f"LABEL_{i}" for i in range(whole(config, ("num_labels",), 2, least=1)))
    try:
        found = {int(index): str(label) for index, label in named.items()}
        return tuple(found[i] for i in range(len(found)))
    except (AttributeError, ValueError, KeyError, TypeError):
        raise refuse("id2label does not name the labels 0, 1, ...") from None


def _pooling(folder: Folder) -> dict[str, Any]:
    """What a sentence-transformers folder says of its pooling; else the mean, as it is."""
    modules = folder.json("modules.json")
    if not isinstance(modules, list):
        return {"pooling": "mean", "normalize": False}
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules if isinstance(module, dict)]
    odd = [kind for kind in kinds if kind not in ("Transformer", "Pooling", "Normalize")]
    if odd or len(kinds) != len(modules):
        raise CheckpointError(Problem(f"module {odd[0] if odd else '?'} is not supported", where=str(folder.path / "modules.json")))
    path = next((str(module.get("path", "")) for module in modules if str(module.get("type", "")).endswith("Pooling")), "")
    said = folder.json(f"{path}/config.json") if path.replace("_", "").isalnum() else None
    modes = [mode for mode, on in (said or {}).items() if mode.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in POOLING:
        raise CheckpointError(Problem(f"pooling {', '.join(modes) or 'nothing'} is not supported", where=str(folder.path / path)))
    return {"pooling": POOLING[modes[0]], "normalize": "Normalize" in kinds}


def pooling_files(pooling: str, normalize: bool, *, width: int, max_length: int) -> dict[str, Any]:
    """What makes a folder a sentence-transformers one: `_pooling` backwards, by the names of its JSON files."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    modes = {mode: ours == pooling for mode, ours in POOLING.items()}
    return {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": width, **modes},
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
    }


def in_table(name: str, kinds: Mapping[str, str]) -> str:
    """A variable's name as weight tables have it: a head under its task's kind."""
    first, dot, rest = name.partition(".")
    if first != "heads":
        return name
    task, dot, rest = rest.partition(".")
    return f"heads.{kinds[task]}{dot}{rest}"
