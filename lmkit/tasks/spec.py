"""What the model is asked to do: one kind a task; several tasks share one body."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from lmkit.blocks.spec import Activation
from lmkit.layers.spec import Custom
from lmkit.spec import LISTED, Fraction, Rate, Spec, short

HeadActivation = Activation | Literal["tanh"]
Labels = Literal["auto"] | Annotated[tuple[str, ...], LISTED]


class Task(Spec):
    """What every task shares."""

    roles: ClassVar[tuple[str, ...]] = ()  # what it needs of each record beside the text: roles of the columns of a source
    heeds: ClassVar[tuple[str, ...]] = ()  # what it minds of each token where a source says it: columns of a cache

    weight: float = Field(1.0, gt=0, description="Its loss counts so much in the sum.")
    data: str | None = Field(None, description="The named source of data.train that it reads; default: all.")


class CausalLm(Task):
    """Predict each token from those before it."""

    kind: Literal["causal_lm"] = "causal_lm"
    heeds = ("counted",)


class MaskedLm(Task):
    """Predict hidden tokens from both sides: of the chosen ones 80 % become [MASK], 10 % a random token, 10 % stay (BERT)."""

    kind: Literal["masked_lm"] = "masked_lm"
    mask_rate: Fraction = Field(0.15, gt=0, lt=1, description="Share of the tokens that is predicted.")
    whole_word: bool = Field(False, description="Choose all pieces of a word together.")


class NextSentence(Task):
    """Tell whether the second segment follows the first, or comes from another document (BERT)."""

    kind: Literal["next_sentence"] = "next_sentence"


class Pooled(Task):
    """What tasks with one answer for a row share: which vector stands for the row, and what is made of it."""

    pooling: Literal["first", "mean", "last", "eos"] = Field(
        "first", description="What stands for the text: the first token, the mean, the last token, or the last `end_id`."
    )
    end_id: Annotated[int, Field(ge=0)] | None = Field(None, description="The token id that pooling eos looks for.")
    pooler: Literal["none"] | HeadActivation | None = Field(
        None, description="Activation of a projection of that vector (BERT's pooler); default: tanh for pooling first, else none."
    )
    pooler_bias: bool = Field(True, description="The pooler has a bias.")
    pooler_norm: bool = Field(False, description="The model's norm after the pooler's activation.")
    dropout: Rate = Field(0.1, description="Before the classifier.")
    classifier_bias: bool = Field(True, description="The last projection has a bias.")

    @property
    def pools(self) -> bool:
        """Whether these keys are read at all: a custom head has its own."""
        return True

    @property
    def pooler_activation(self) -> str | None:
        """The pooler's activation, None where there is no pooler."""
        default = "tanh" if self.pooling == "first" else "none"
        return None if (self.pooler or default) == "none" else self.pooler or default

    def rule_end_is_known(self) -> Iterator[tuple[str, str]]:
        if self.pooling == "eos" and self.end_id is None:
            yield "pooling", "eos needs the id of that token; add end_id: ..."

    def rule_pooler_norm_has_a_pooler(self) -> Iterator[tuple[str, str]]:
        if self.pooler_norm and self.pooler_activation is None:
            yield "pooler_norm", "there is no pooler whose output it could norm; write pooler: gelu, or another activation"


def label_problems(labels: Literal["auto"] | tuple[str, ...], kind: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a list of label names."""
    if labels == "auto":
        return
    repeated = sorted({label for label in labels if labels.count(label) > 1})
    if repeated:
        yield "labels", f"{repeated[0]} stands twice"
    if len(labels) < 2:
        yield "labels", f"{kind} needs two labels or more, got {len(labels)}"


class DefaultHead(Spec):
    """The head that the other keys of the task describe."""

    kind: Literal["default"] = "default"


class CustomHead(Custom):
    """Logits of the labels by a class of your own, which derives from lmkit.heads.row_class.RowClassHead, or Head."""

    base = "lmkit.heads.head.Head"
    methods = ("build", "call", "logits")
    given = ("hidden_size", "num_labels")


AnyHead = Annotated[DefaultHead | CustomHead, Field(discriminator="kind"), short()]


class Classification(Pooled):
    """One label for a text or a pair of texts."""

    kind: Literal["classification"] = "classification"
    roles = ("label",)
    labels: Labels = Field("auto", description="Label names in order, or `auto`: those of the training data, sorted.")
    metrics: Annotated[tuple[Literal["accuracy", "f1"], ...], LISTED] = Field(("accuracy",), description="f1 is the mean over labels.")
    head: AnyHead = Field(default_factory=DefaultHead, description="`default`, or a head of your own.")

    @property
    def pools(self) -> bool:
        return isinstance(self.head, DefaultHead)

    def rule_custom_head_has_its_own_keys(self) -> Iterator[tuple[str, str]]:
        for key, field in Pooled.model_fields.items():
            if not self.pools and key not in Task.model_fields and getattr(self, key) != field.default:
                yield key, "is a key of the default head; a custom one gets what head.config says"

    def rule_labels(self) -> Iterator[tuple[str, str]]:
        yield from label_problems(self.labels, self.kind)


class Regression(Pooled):
    """One number for a text or a pair of texts."""

    kind: Literal["regression"] = "regression"
    roles = ("value",)


class PerToken(Task):
    """What tasks with an answer for each token share."""

    transform: Literal["none"] | HeadActivation = Field("none", description="Activation of a projection before the last one.")
    transform_bias: bool = Field(True, description="That projection has a bias.")
    transform_norm: bool = Field(False, description="The model's norm after that activation.")
    classifier_bias: bool = Field(True, description="The last projection has a bias.")
    dropout: Rate = Field(0.1, description="Before the last projection.")

    def rule_transform_norm_has_a_transform(self) -> Iterator[tuple[str, str]]:
        if self.transform_norm and self.transform == "none":
            yield "transform_norm", "there is no transform whose output it could norm; write transform: gelu, or another activation"


class TokenClassification(PerToken):
    """One label for each token (names, parts of speech)."""

    kind: Literal["token_classification"] = "token_classification"
    roles = ("tags",)
    labels: Labels = Field("auto", description="Label names in order, or `auto`: those of the training data, sorted.")

    def rule_labels(self) -> Iterator[tuple[str, str]]:
        yield from label_problems(self.labels, self.kind)


class QuestionAnswering(PerToken):
    """Find where the answer to the first text stands in the second (SQuAD)."""

    kind: Literal["question_answering"] = "question_answering"
    roles = ("answers",)
    dropout: Rate = Field(0.0, description="Before the last projection.")


class ReplacedToken(Task):
    """Tell which tokens are not the text's own (ELECTRA's discriminator); model.output says how its transform looks."""

    kind: Literal["replaced_token"] = "replaced_token"


class Seq2seq(Task):
    """Write a text to a text that an encoder reads: translation, summaries, answers (T5, BART)."""

    kind: Literal["seq2seq"] = "seq2seq"
    label_smoothing: Rate = Field(0.0, description="Probability that training shares among all tokens (Szegedy et al., 2016).")


class SentenceEmbedding(Task):
    """A vector for a text, near those of texts of like meaning (Sentence-BERT)."""

    kind: Literal["sentence_embedding"] = "sentence_embedding"
    pooling: Literal["first", "mean", "last"] = Field("mean", description="What stands for the text.")
    normalize: bool = Field(True, description="Vectors have length 1.")


Labelled = Classification | TokenClassification
Trainable = CausalLm | MaskedLm | NextSentence | Classification | Regression | TokenClassification  # those that data/ makes batches for
TRAINABLE = tuple(each.model_fields["kind"].default for each in get_args(Trainable))
AnyTask = Annotated[
    Trainable | QuestionAnswering | ReplacedToken | Seq2seq | SentenceEmbedding,
    Field(discriminator="kind"),
    short(),
]
