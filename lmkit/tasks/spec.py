"""What the model is asked to do: one kind a task; several tasks share one body."""

from collections.abc import Collection, Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from lmkit.blocks.spec import Activation
from lmkit.generation.spec import AnyDecoding, Greedy
from lmkit.layers.spec import Custom
from lmkit.scores.names import (
    CLASSES,
    MULTI_LABEL,
    NO_SINGLE_AIM,
    RETRIEVAL,
    SIMILARITY,
    AnswerMetric,
    BleuTokenizer,
    ClassMetric,
    NumberMetric,
    RetrievalMetric,
    SetMetric,
    SimilarityMetric,
    TagMetric,
    TextMetric,
)
from lmkit.scores.spec import CustomMetric, Metrics
from lmkit.spec import LISTED, Count, Fraction, Rate, Spec, short

HeadActivation = Activation | Literal["tanh"]


def _named_by_a_number(value: Any) -> Any:
    return str(value).lower() if isinstance(value, int) else value


LabelName = Annotated[str, BeforeValidator(_named_by_a_number, json_schema_input_type=str | int | bool)]
Labels = Literal["auto"] | Annotated[tuple[LabelName, ...], LISTED] | dict[str, LabelName]
ClassWeights = Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]]


class Task(Spec):
    """What every task shares."""

    roles: ClassVar[tuple[str, ...]] = ()  # what it needs of each record beside the text: roles of the columns of a source
    heeds: ClassVar[tuple[str, ...]] = ()  # what it minds of each token where a source says it: columns of a cache
    figures: ClassVar[tuple[str, ...]] = ("loss", "accuracy")  # of its batches, as far as one may aim at them

    weight: float = Field(1.0, gt=0, description="Its loss counts so much in the sum.")
    data: str | None = Field(None, description="The named source of data.train that it reads; default: all.")

    @property
    def by_answers(self) -> bool:
        """Whether its metrics are of answers to whole documents, which the rows of a batch do not show."""
        return False

    @property
    def named(self) -> tuple[str, ...]:
        """Those of its metrics that have a name in lmkit."""
        return tuple(metric for metric in getattr(self, "metrics", None) or () if not isinstance(metric, CustomMetric))

    @property
    def own(self) -> tuple[CustomMetric, ...]:
        """Those that are the user's own."""
        return tuple(metric for metric in getattr(self, "metrics", None) or () if isinstance(metric, CustomMetric))

    def scored(self, roles: Collection[str]) -> tuple[str, ...]:
        """What its metrics are called, as far as records with these roles tell them."""
        return (*self.named, *(metric.figure for metric in self.own))

    def aims(self, roles: Collection[str], *, answers: bool) -> tuple[str, ...]:
        """Figures that an evaluation in training gives and that one may aim at; `answers`: where documents are answered there."""
        scored = self.scored(roles) if answers or not self.by_answers else ()
        return tuple(dict.fromkeys((*self.figures, *(name for name in scored if name not in NO_SINGLE_AIM))))

    def rule_own_metrics_have_names_of_their_own(self) -> Iterator[tuple[str, str]]:
        names = [metric.class_name for metric in self.own]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            yield "metrics", f"two classes are called {repeated}, as their figures would be; give each its own name"


class CausalLm(Task):
    """Predict each token from those before it."""

    kind: Literal["causal_lm"] = "causal_lm"
    figures = ("loss", "perplexity", "accuracy", "bits_per_byte")
    heeds = ("counted",)


class MaskedLm(Task):
    """Predict hidden tokens from both sides: of the chosen ones 80 % become [MASK], 10 % a random token, 10 % stay (BERT)."""

    kind: Literal["masked_lm"] = "masked_lm"
    figures = ("loss", "perplexity", "accuracy")
    mask_rate: Fraction = Field(0.15, gt=0, lt=1, description="Share of the tokens that is predicted.")
    whole_word: bool = Field(False, description="Choose all pieces of a word together.")


class TwoSegments(Task):
    """What tasks share that read two runs of sentences of running text."""


class NextSentence(TwoSegments):
    """Tell whether the second segment follows the first, or comes from another document (BERT)."""

    kind: Literal["next_sentence"] = "next_sentence"


class SentenceOrder(TwoSegments):
    """Tell whether two neighbouring segments stand in their order, or were exchanged (ALBERT)."""

    kind: Literal["sentence_order"] = "sentence_order"


class Windowed(Spec):
    """Rows that share tokens, so that a long text is read whole; in training each has the text's own label."""

    stride: Count = Field(128, description="Tokens that a row shares with the one before it (half of the row at most).")
    pool: Literal["mean", "max"] = Field("mean", description="What the rows' scores become for the text, label by label.")


class WholeText(Task):
    """What tasks with one answer for a text share: how a text is read that is longer than a row."""

    truncate: Literal["end", "start", "head_tail"] = Field(
        "end", description="What it loses: its end, its start, or all between its first 128 tokens and its last (Sun et al., 2019)."
    )
    windows: Windowed | None = Field(
        None,
        description="It is read in several rows instead. Of two texts the first has half of a row at most, and the second is the long one.",
    )

    @property
    def by_answers(self) -> bool:
        return self.windows is not None

    def rule_windows_lose_nothing(self) -> Iterator[tuple[str, str]]:
        if self.windows is not None and self.truncate != "end":
            yield "truncate", "with windows nothing is cut; remove one of the two"


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


class Labelled(Task):
    """What tasks that choose among named labels share."""

    labels: Labels = Field(
        "auto",
        description="Label names in order; or what the data calls them and their names, `{0: negative, 1: positive}`; or `auto`: those of "
        "the training data, sorted.",
    )
    class_weights: ClassWeights | None = Field(
        None,
        description="How much each label counts in the training loss, 1 if unsaid; `balanced`: examples / (labels x examples of it).",
    )

    @property
    def declared(self) -> tuple[str, ...]:
        """The label names in order; none where the data decides."""
        if self.labels == "auto":
            return ()
        return tuple(dict.fromkeys(self.labels.values())) if isinstance(self.labels, dict) else self.labels

    def rule_labels(self) -> Iterator[tuple[str, str]]:
        names = self.declared
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            yield "labels", f"{repeated} stands twice"
        if self.labels != "auto" and len(names) < 2:
            yield "labels", f"{self.kind} needs two labels or more, got {len(names)}"  # type: ignore[attr-defined]

    def rule_class_weights(self) -> Iterator[tuple[str, str]]:
        for name in self.class_weights if isinstance(self.class_weights, dict) and self.declared else ():
            if name not in self.declared:
                yield f"class_weights.{name}", f"is no label; the labels are {', '.join(self.declared)}"


class DefaultHead(Spec):
    """The head that the other keys of the task describe."""

    kind: Literal["default"] = "default"


class CustomHead(Custom):
    """Logits of the labels by a class of your own, which derives from lmkit.heads.row_class.RowClassHead, or Head."""

    base = "lmkit.heads.head.Head"
    methods = ("build", "call", "logits")
    given = ("hidden_size", "num_labels")


AnyHead = Annotated[DefaultHead | CustomHead, Field(discriminator="kind"), short()]


class Classification(Labelled, WholeText, Pooled):
    """One label for a text or a pair of texts, or any number of labels."""

    kind: Literal["classification"] = "classification"
    multi_label: bool = Field(
        False, description="Any number of labels for a text, each right or wrong by itself; the data's role is `labels`."
    )
    class_weights: ClassWeights | None = Field(
        None,
        description="How much each label counts in the training loss, 1 if unsaid; `balanced`: examples / (labels x examples of it). With "
        "multi_label, how much a text that has the label counts against 1 of those without it (pos_weight in PyTorch); `balanced`: texts "
        "without it / texts with it.",
    )
    threshold: Fraction = Field(0.5, gt=0, lt=1, description="With multi_label, labels of this probability or more are given.")
    label_smoothing: Rate = Field(0.0, description="Probability that training shares among all labels (Szegedy et al., 2016).")
    metrics: Metrics[Literal[ClassMetric, SetMetric]] = Field(
        ("accuracy",),
        description="What answers are scored by. f1, precision and recall are means over labels; ..._binary is of the second.",
    )
    head: AnyHead = Field(default_factory=DefaultHead, description="`default`, or a head of your own.")

    @property
    def roles(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("labels",) if self.multi_label else ("label",)

    @property
    def pools(self) -> bool:
        return isinstance(self.head, DefaultHead)

    def rule_several_labels(self) -> Iterator[tuple[str, str]]:
        if self.multi_label and self.label_smoothing:
            yield "label_smoothing", "goes with one label a text; remove it, or multi_label"
        if not self.multi_label and self.threshold != 0.5:
            yield "threshold", "goes with multi_label: true; of one label a text the likeliest is given"

    def rule_metrics_are_of_its_kind(self) -> Iterator[tuple[str, str]]:
        known, kind = (MULTI_LABEL, "multi_label") if self.multi_label else (CLASSES, "one label a text")
        for i, name in enumerate(self.metrics):
            if isinstance(name, CustomMetric):
                continue
            if name not in known:
                yield f"metrics.{i}", f"{name} is no figure of {kind}; choose from {', '.join(known)}"
            elif name.endswith("_binary") and self.declared and len(self.declared) != 2:
                yield f"metrics.{i}", f"{name} is of two labels, and there are {len(self.declared)}; write {name.removesuffix('_binary')}"

    def rule_custom_head_has_its_own_keys(self) -> Iterator[tuple[str, str]]:
        for key, field in Pooled.model_fields.items():
            if not self.pools and key not in Task.model_fields and getattr(self, key) != field.default:
                yield key, "is a key of the default head; a custom one gets what head.config says"
        for key in ("multi_label", "label_smoothing"):
            if not self.pools and getattr(self, key):
                yield key, "is for the default head; a custom one has a loss of its own"


class Regression(WholeText, Pooled):
    """One number for a text or a pair of texts."""

    kind: Literal["regression"] = "regression"
    roles = ("value",)
    figures = ("loss",)
    metrics: Metrics[NumberMetric] = Field(("spearman", "pearson"), description="What answers are scored by.")


class MultipleChoice(Pooled):
    """Find the right one of several texts that could go with a text; a row holds all pairs of them, each with its share of the room."""

    kind: Literal["multiple_choice"] = "multiple_choice"
    roles = ("choices", "label")
    metrics: ClassVar[tuple[ClassMetric, ...]] = ("accuracy",)


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


class TokenClassification(Labelled, PerToken):
    """One label for each word (names, parts of speech), learned and given at its first token."""

    kind: Literal["token_classification"] = "token_classification"
    roles = ("tags",)
    metrics: Metrics[TagMetric] = Field(
        ("accuracy", "f1"),
        description="What answers are scored by. f1, precision and recall are of entities, where tags spell such (B-..., I-...); "
        "f1_tags is the mean over tags.",
    )


class QuestionAnswering(PerToken):
    """Find where the answer to the first text stands in the second (SQuAD)."""

    kind: Literal["question_answering"] = "question_answering"
    roles = ("text_pair", "answers")
    metrics: Metrics[AnswerMetric] = Field(("exact_match", "f1"), description="What answers are scored by, as SQuAD does.")
    dropout: Rate = Field(0.0, description="Before the last projection.")
    max_question_length: Count = Field(64, description="Tokens of a question; the rest of a longer one is cut off.")
    stride: Count = Field(
        128, description="A text that is longer than a row is read in windows, which share so many tokens (half of the row at most)."
    )
    max_answer_length: Count = Field(30, description="The most tokens of an answer that is given.")
    n_best: Count = Field(20, description="How many answers are given, the likeliest first.")
    no_answer_threshold: Literal["auto"] | Annotated[Fraction, Field(ge=0, le=1)] | None = Field(
        None,
        description="The answer is empty where `no_answer`, the probability of none against the best one, is above this "
        "(0.5: where none is the likelier); default: never. `auto`: the one that gives the best F1 at the evaluation before the checkpoint "
        "that is used; in training answers are always given, and best_f1 says what it reaches.",
    )

    @property
    def named(self) -> tuple[str, ...]:
        found = ("best_f1", "best_f1_threshold") if self.no_answer_threshold == "auto" else ()
        return tuple(dict.fromkeys((*super().named, *found)))

    @property
    def most_doubt(self) -> float:
        """No answer is given where `no_answer` is above this; 1 where the best is yet to be found."""
        return self.no_answer_threshold if isinstance(self.no_answer_threshold, float) else 1.0

    @property
    def by_answers(self) -> bool:
        return True


class Generator(Spec):
    """A masked language model that fills hidden places: the body's words, but narrower, on the body's table of tokens."""

    hidden_size: Fraction = Field(0.25, gt=0, le=1, description="Its width, feed-forward width and heads, as a share of the body's.")
    num_layers: Count | None = Field(None, description="Number of its blocks; default: the body's.")


class ReplacedToken(Task):
    """Tell which tokens are not the text's own, but a generator's (ELECTRA); model.output says how its transform looks."""

    kind: Literal["replaced_token"] = "replaced_token"
    generator: Generator | None = Field(
        None, description="What replaces tokens in training, and is trained beside; a model needs it for that."
    )
    mask_rate: Fraction = Field(0.15, gt=0, lt=1, description="Share of the tokens that the generator fills.")
    discriminator_weight: float = Field(50.0, gt=0, description="How much telling tokens apart counts against the generator's own loss.")
    figures = ("loss", "accuracy", "generator_loss", "generator_accuracy", "discriminator_loss")


class SpanCorruption(Task):
    """Write the hidden parts of a text to what is left of it (T5); beside an encoder."""

    kind: Literal["span_corruption"] = "span_corruption"
    figures = ("loss", "perplexity", "accuracy")
    mask_rate: Fraction = Field(0.15, gt=0, lt=1, description="Share of the tokens that is hidden.")
    mean_span: float = Field(3.0, ge=1, description="Tokens of a hidden part, on average.")


class PrefixLm(Task):
    """Predict each token of a text behind a beginning of random length, which is seen in both directions (T5, UL2).

    Beside an encoder the beginning is read by the encoder and the rest written by the decoder.
    """

    kind: Literal["prefix_lm"] = "prefix_lm"
    figures = ("loss", "perplexity", "accuracy")


class Seq2seq(Task):
    """Write a text to a text: translation, summaries, answers (T5, BART). A decoder alone reads on behind the text and a separator."""

    kind: Literal["seq2seq"] = "seq2seq"
    roles = ("target",)
    figures = ("loss", "perplexity", "accuracy")
    prefix: str = Field("", description='Stands before every text that is read, as in "translate English to German: ".')
    separator: str = Field("\n", description="Stands behind every text where a decoder alone reads it, before what it writes.")
    label_smoothing: Rate = Field(0.0, description="Probability that training shares among all tokens (Szegedy et al., 2016).")
    decode: AnyDecoding = Field(default_factory=Greedy, description="How texts are written in evaluation and prediction.")
    metrics: Metrics[TextMetric] = Field(("bleu", "chrf"), description="What written texts are scored by.")
    bleu_tokenizer: BleuTokenizer = Field("13a", description="How bleu tells words: 13a (mteval), zh, intl, char, or none.")

    @property
    def by_answers(self) -> bool:
        return True


class SentenceEmbedding(Task):
    """A vector for a text, near those of texts of like meaning (Sentence-BERT)."""

    kind: Literal["sentence_embedding"] = "sentence_embedding"
    pooling: Literal["first", "mean", "last"] = Field("mean", description="What stands for the text.")
    normalize: bool = Field(True, description="Vectors have length 1.")
    loss: Literal["contrastive", "simcse", "cosine"] = Field(
        "contrastive",
        description="`contrastive`: of all texts of its group, a text is nearest to its own text_pair; `simcse`: to itself, seen through "
        "another dropout (Gao et al., 2021); `cosine`: the cosine of both texts is their value.",
    )
    negatives: Count | None = Field(
        None,
        ge=2,
        description="So many neighbouring rows of a batch are a group, in which each text is compared to all; default: batch_size.",
    )
    temperature: float = Field(0.05, gt=0, description="Cosines are divided by it before they are compared.")
    symmetric: bool = Field(False, description="The second texts look for the first ones, too.")
    values: Annotated[tuple[float, float], LISTED] = Field(
        (0.0, 1.0), description="The values of records that stand for a cosine of 0 and of 1."
    )
    metrics: Metrics[Literal[SimilarityMetric, RetrievalMetric]] | None = Field(
        None,
        description="What vectors of pairs are scored by; default: spearman, of cosines and the records' values, if these are there, else "
        "accuracy_at_1 and mrr of finding the second text by the first among all.",
    )

    @property
    def roles(self) -> tuple[str, ...]:  # type: ignore[override]
        return {"contrastive": ("text_pair",), "simcse": (), "cosine": ("text_pair", "value")}[self.loss]

    @property
    def figures(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("loss", "accuracy") if self.loss == "contrastive" else ("loss",)  # without dropout a text is always nearest to itself

    @property
    def by_answers(self) -> bool:
        return True

    def scored(self, roles: Collection[str]) -> tuple[str, ...]:
        possible = [*(SIMILARITY if "value" in roles else ()), *RETRIEVAL] if "text_pair" in roles else []
        usual = ("spearman",) if "value" in roles else RETRIEVAL
        named = tuple(name for name in (usual if self.metrics is None else self.named) if name in possible)
        return named + (tuple(metric.figure for metric in self.own) if "text_pair" in roles else ())

    def rule_each_loss_has_its_keys(self) -> Iterator[tuple[str, str]]:
        given = {"negatives": self.negatives is not None, "symmetric": self.symmetric, "temperature": self.temperature != 0.05}
        for key in (key for key, there in given.items() if there and self.loss == "cosine"):
            yield key, "loss: cosine compares no texts of other rows; remove it, or write loss: contrastive"
        if self.values != (0.0, 1.0) and self.loss != "cosine":
            yield "values", "goes with loss: cosine; remove it"
        if self.values[0] == self.values[1]:
            yield "values", "needs two different values"


class DirectPreference(Task):
    """Make the better of two answers likelier, measured against the model as it was (DPO, Rafailov et al., 2023)."""

    kind: Literal["dpo"] = "dpo"
    figures = ("loss", "accuracy", "margin")
    roles = ("chosen", "rejected")
    beta: float = Field(0.1, gt=0, description="How dear it is to leave the model as it was.")
    loss: Literal["sigmoid", "ipo", "hinge"] = Field("sigmoid", description="DPO's own, IPO's (Azar et al., 2023), or that of SLiC.")
    label_smoothing: Annotated[Rate, Field(lt=0.5)] = Field(0.0, description="Share of the preferences taken to be wrong; of loss sigmoid.")

    def rule_smoothing_has_its_loss(self) -> Iterator[tuple[str, str]]:
        if self.label_smoothing and self.loss != "sigmoid":
            yield "label_smoothing", f"loss: {self.loss} knows none; remove it, or write loss: sigmoid"


class Reward(Pooled):
    """A score for an answer, learned from pairs of which one is better (Bradley-Terry)."""

    kind: Literal["reward"] = "reward"
    figures = ("loss", "accuracy", "margin")
    roles = ("chosen", "rejected")
    pooling: Literal["first", "mean", "last", "eos"] = Field(
        "last", description="What stands for the text: the first token, the mean, the last token, or the last `end_id`."
    )
    classifier_bias: bool = Field(False, description="The last projection has a bias, which no pair can tell.")
    dropout: Rate = Field(0.0, description="Before the last projection.")


AnyTask = Annotated[
    CausalLm
    | MaskedLm
    | NextSentence
    | SentenceOrder
    | Classification
    | Regression
    | MultipleChoice
    | TokenClassification
    | Seq2seq
    | SpanCorruption
    | PrefixLm
    | QuestionAnswering
    | DirectPreference
    | Reward
    | SentenceEmbedding
    | ReplacedToken,
    Field(discriminator="kind"),
    short(),
]
