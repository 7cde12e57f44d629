"""A trained model, open to be asked: with the words of its tasks and of the rows that it reads."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lmkit.checkpoints.hub.generation import Habits
from lmkit.data.files import never
from lmkit.data.spec import Data
from lmkit.heads.model import Model
from lmkit.tasks.spec import AnyTask
from lmkit.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class OpenedModel:
    """What is asked, and `path`, where it came from.

    It answers `at_once` rows in a batch at most, and asks before each whether to `stop`. `habits` reads what the makers of a
    model that was `imported` say of writing; whatever it draws follows from `seed`. `began` makes the model as it was before it was
    trained.
    """

    path: Path
    tasks: Mapping[str, AnyTask]
    data: Data
    tokenizer: Tokenizer
    model: Model
    labels: dict[str, tuple[str, ...]]
    seed: int
    imported: bool
    habits: Callable[[], Habits | None]
    began: Callable[[], Model]
    at_once: int = 32
    stop: Callable[[], bool] = never
