"""The words of a task's metrics: figures by name, and classes of your own."""

from typing import Annotated, Any, TypeVar

from pydantic import Discriminator, Tag

from lmkit.layers.spec import Custom
from lmkit.spec import LISTED


class CustomMetric(Custom):
    """A figure by a class of your own, which derives from lmkit.scores.custom.Metric; it is called custom.Class, and more is better."""

    base = "lmkit.scores.custom.Metric"
    methods = ("score",)
    given = ("labels", "name")

    @property
    def figure(self) -> str:
        """What its figure is called."""
        return f"custom.{self.class_name}"


def _which(value: Any) -> str:
    return "custom" if isinstance(value, dict | CustomMetric) else "name"


N = TypeVar("N")
Metrics = Annotated[
    tuple[Annotated[Annotated[N, Tag("name")] | Annotated[CustomMetric, Tag("custom")], Discriminator(_which)], ...], LISTED
]
