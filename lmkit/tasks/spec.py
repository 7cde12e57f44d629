"""What the model is asked to do: one kind a task; several tasks share one body."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from lmkit.spec import LISTED, Fraction, Rate, Spec, short


class Task(Spec):
    """What every task shares."""

    weight: float = Field(1.0, gt=0, description="Its loss counts so much in the sum.")
    data: str | None = Field(None, description="The named source of data.train that it reads; default: all.")


class CausalLm(Task):
    """Predict each token from those before it."""

    kind: Literal["causal_lm"] = "causal_lm"


class MaskedLm(Task):
    """Predict hidden tokens from both sides: of the chosen ones 80 % become [MASK], 10 % a random token, 10 % stay (BERT)."""

    kind: Literal["masked_lm"] = "masked_lm"
    mask_rate: Fraction = Field(0.15, gt=0, lt=1, description="Share of the tokens that is predicted.")
    whole_word: bool = Field(False, description="Choose all pieces of a word together.")


class NextSentence(Task):
    """Tell whether the second segment follows the first, or comes from another document (BERT)."""

    kind: Literal["next_sentence"] = "next_sentence"


class Classification(Task):
    """One label for a text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    labels: Literal["auto"] | Annotated[tuple[str, ...], LISTED] = Field(
        "auto", description="Label names in order, or `auto`: those of the training data, sorted."
    )
    pooling: Literal["first", "mean", "last"] = Field(
        "first", description="What stands for the text: the first token through a pooler, the mean, or the last token."
    )
    dropout: Rate = Field(0.1, description="Before the classifier.")
    metrics: Annotated[tuple[Literal["accuracy", "f1"], ...], LISTED] = Field(("accuracy",), description="f1 is the mean over labels.")

    def rule_labels(self) -> Iterator[tuple[str, str]]:
        if self.labels != "auto":
            repeated = sorted({label for label in self.labels if self.labels.count(label) > 1})
            if repeated:
                yield "labels", f"{repeated[0]} stands twice"
            if len(self.labels) < 2:
                yield "labels", f"classification needs two labels or more, got {len(self.labels)}"


AnyTask = Annotated[CausalLm | MaskedLm | NextSentence | Classification, Field(discriminator="kind"), short()]
