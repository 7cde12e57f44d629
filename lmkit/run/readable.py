"""Answers as lines for a reader."""

from collections.abc import Iterator
from typing import Any


def readable(row: dict[str, Any]) -> Iterator[str]:
    for name, answer in row.items():
        if isinstance(answer, str):
            yield answer
        else:
            yield from (f"  {name}: {line}" for line in answer_lines(answer))


def answer_lines(answer: dict[str, Any]) -> Iterator[str]:
    """One answer for a reader; what tells it is which keys it has."""
    if "choice" in answer:
        yield f"{answer['choice']}  ({answer['place']}; {', '.join(f'{share:.3f}' for share in answer['probabilities'])})"
    elif "probabilities" in answer:
        shares = ", ".join(f"{label} {share:.3f}" for label, share in answer["probabilities"].items())
        said = answer["label"] if "label" in answer else ", ".join(answer["labels"]) or "no label"
        yield f"{said}  ({shares})"
    elif "rewards" in answer:
        shares = ", ".join(f"{side} {reward:.4f}" for side, reward in answer["rewards"].items())
        yield f"{answer['preferred'] or 'neither'}  ({shares}; margin {answer['margin']:.4f})"
    elif "text" in answer:
        yield answer["text"]
    elif "value" in answer or "score" in answer:
        yield f"{answer.get('value', answer.get('score')):.4f}"
    elif "vector" in answer:
        first = ", ".join(f"{value:.4f}" for value in answer["vector"][:4])
        yield f"[{first}, ...]  ({len(answer['vector'])} numbers; --json gives all)"
    elif "spans" in answer:
        if not answer["answer"]:
            yield f"no answer  ({answer['no_answer']:.3f})"
        yield from (f"{one['text']}  ({one['start']}-{one['end']}, {one['probability']:.3f})" for one in answer["spans"])
    elif "entities" in answer:
        found = [f"{one['text']} {one['label']} ({one['start']}-{one['end']}, {one['probability']:.3f})" for one in answer["entities"]]
        yield ", ".join(found) or "no entities"
    elif "tokens" in answer:
        yield ", ".join(f"{one['text']} {one['replaced']:.3f}" for one in answer["tokens"])
    else:
        for mask in answer["masks"]:
            yield ", ".join(f"{found['token']} {found['probability']:.3f}" for found in mask)
        yield answer["filled"]
