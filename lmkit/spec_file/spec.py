"""The whole spec: one branch for each room, and the rules between rooms."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from lmkit.data.spec import Data, Holdout, Imported
from lmkit.models.names import unknown_part
from lmkit.models.shrink import shrunk
from lmkit.models.spec import Decoder, Encoder, EncoderDecoder, FromRun, Model, nearest_multiples, stacks
from lmkit.positions.spec import Learned
from lmkit.spec import Name, Spec
from lmkit.tasks.spec import (
    AnyTask,
    CausalLm,
    DirectPreference,
    MaskedLm,
    PerToken,
    Pooled,
    PrefixLm,
    QuestionAnswering,
    ReplacedToken,
    Reward,
    SentenceEmbedding,
    Seq2seq,
    SpanCorruption,
    TwoSegments,
)
from lmkit.text.spec import Tokenizer
from lmkit.training.spec import Logging, Runtime, Training

VERSION = 1


class RunSpec(Spec):
    """One run, as the user declares it."""

    version: Annotated[int, Field(ge=1)] = Field(1, description="Version of the spec language.")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        examples=["my-model"],
        description="Names the run directory, runs/<name>.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="Everything random follows from it.")
    tokenizer: Tokenizer | None = Field(None, description="Required unless model.from names a run, or a spec that has one.")
    data: Data = Field(description="Where the text comes from.", examples=[{"train": {"text": "corpus/*.txt"}}])
    model: Model = Field(description="The body.", examples=[{"kind": "decoder", "num_layers": 6, "hidden_size": 384, "num_heads": 6}])
    tasks: dict[Name, AnyTask] = Field(min_length=1, description="What is learned, each task under a name.", examples=[{"lm": "causal_lm"}])
    training: Training = Field(
        description="How it is trained.",
        examples=[{"steps": 1000, "batch_size": 32, "optimizer": {"kind": "adamw", "learning_rate": 3e-4}}],
    )
    runtime: Runtime = Field(default_factory=Runtime, description="Which devices do the work.")
    logging: Logging = Field(default_factory=Logging, description="What is written for TensorBoard.")

    @property
    def imported(self) -> bool:
        """Whether this only describes a model that was read from elsewhere: there is no text to train it on."""
        return any(isinstance(source, Imported) for source in self.data.train.values())

    def rule_known_version(self) -> Iterator[tuple[str, str]]:
        if self.version > VERSION:
            yield "version", f"{self.version} is newer than this lmkit, which reads version {VERSION}; upgrade lmkit"

    def rule_one_tokenizer(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.model, FromRun):
            if self.tokenizer is not None:
                yield "tokenizer", "model.from brings the tokenizer of that run; remove this"
        elif self.tokenizer is None:
            yield "tokenizer", "missing; add for example tokenizer: {kind: bpe, vocab_size: 8000}"

    def rule_positions_reach(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.model, FromRun):
            return
        found: dict[tuple[str, str], None] = {}
        for stack in stacks(self.model):
            home = f"model.{self.model.key_of(stack.kind, 'position')}" if isinstance(self.model, EncoderDecoder) else "model.position"
            for i, position in enumerate(stack.position):
                if isinstance(position, Learned) and position.max_length is not None and position.max_length < self.data.max_length:
                    key = home if len(stack.position) == 1 else f"{home}.{i}"
                    what = f"{position.max_length} is shorter than data.max_length = {self.data.max_length}; write that or more"
                    found[f"{key}.max_length", what] = None
        yield from found

    def rule_parts_are_there(self) -> Iterator[tuple[str, str]]:
        if isinstance(self.model, FromRun):
            body = self.model.body
            layers = None if body is None else max(stack.num_layers for stack in stacks(body))
            for key in ("freeze", "reinitialize"):
                for i, pattern in enumerate(getattr(self.model, key)):
                    if what := unknown_part(pattern, layers):
                        yield f"model.{key}.{i}", what

    def rule_tasks_find_their_source(self) -> Iterator[tuple[str, str]]:
        for name, task in self.tasks.items():
            if task.data is not None and task.data not in self.data.train:
                yield f"tasks.{name}.data", f"data.train has no source {task.data}; it has {', '.join(self.data.train)}"

    def rule_tasks_can_be_trained(self) -> Iterator[tuple[str, str]]:
        for name, task in self.tasks.items():
            if isinstance(task, ReplacedToken) and task.generator is None and not self.imported:
                yield f"tasks.{name}", "replaced_token learns from what a generator replaces; add generator: {hidden_size: 25%}"

    def rule_generators_can_be_made_small(self) -> Iterator[tuple[str, str]]:
        body = self.model.body if isinstance(self.model, FromRun) else self.model
        for name, task in self.tasks.items():
            if isinstance(task, ReplacedToken) and task.generator is not None and isinstance(body, Encoder) and not any(body.problems()):
                small = shrunk(body, task.generator.hidden_size, num_layers=task.generator.num_layers, max_length=self.data.max_length)
                for _, what in small.problems():
                    why = f"{what.partition(';')[0]}; write another share"
                    yield f"tasks.{name}.generator.hidden_size", f"a generator of {small.hidden_size} channels cannot be built: {why}"

    def rule_tasks_fit_the_model(self) -> Iterator[tuple[str, str]]:
        body = self.model.body if isinstance(self.model, FromRun) else self.model
        for name, task in self.tasks.items():
            if isinstance(task, CausalLm | DirectPreference) and isinstance(body, Encoder | EncoderDecoder):
                yield f"tasks.{name}.kind", f"{task.kind} needs model.kind: decoder"
            if isinstance(task, Reward) and isinstance(body, EncoderDecoder):
                yield f"tasks.{name}.kind", "reward needs model.kind: decoder, or encoder"
            if isinstance(task, MaskedLm | TwoSegments | ReplacedToken) and isinstance(body, Decoder | EncoderDecoder):
                yield f"tasks.{name}.kind", f"{task.kind} needs model.kind: encoder"
            if (
                isinstance(task, SentenceEmbedding)
                and task.loss == "simcse"
                and body is not None
                and not any(s.dropout for s in stacks(body))
            ):
                yield f"tasks.{name}.loss", "simcse tells a text from itself by dropout, and the model has none; write model.dropout: 0.1"
            if isinstance(task, SpanCorruption) and isinstance(body, Encoder | Decoder):
                yield f"tasks.{name}.kind", "span_corruption needs model.kind: encoder_decoder"
            if isinstance(task, Seq2seq | PrefixLm) and isinstance(body, Encoder):
                yield f"tasks.{name}.kind", f"{task.kind} needs model.kind: decoder, or encoder_decoder"
            if isinstance(task, Pooled | PerToken) and isinstance(body, EncoderDecoder) and body.start_id is None:
                yield f"tasks.{name}.kind", f"{task.kind} reads the decoder, which must know its first token; add model.start_id"
            if isinstance(task, Pooled) and task.pools and task.pooling == "first" and isinstance(body, Decoder | EncoderDecoder):
                yield f"tasks.{name}.pooling", "the first token of a decoder has seen nothing else; write pooling: last, or mean"

    def rule_sources_name_what_tasks_read(self) -> Iterator[tuple[str, str]]:
        if self.imported:
            return
        for name, task in self.tasks.items():
            for source_name, source in self.data.train.items():
                named = getattr(source, "columns", {})
                missing = [role for role in task.roles if role not in named]
                if task.data in (None, source_name) and missing:
                    which = "data.train" if list(self.data.train) == ["train"] else f"data.train.{source_name}"
                    columns = ", ".join(f"{role}: {named.get(role, '...')}" for role in ("text", *task.roles))
                    yield f"tasks.{name}", f"{which} names no {' and '.join(missing)} field; add there columns: {{{columns}}}"

    def prefixes_of(self, source: str) -> dict[str, str]:
        """For each task that reads a source of data.train, or any other texts, what it puts before them."""
        bound = source if source in self.data.train else None
        return {name: getattr(task, "prefix", "") for name, task in self.tasks.items() if bound is None or task.data in (None, bound)}

    def rule_tasks_put_one_prefix_before_a_text(self) -> Iterator[tuple[str, str]]:
        held = [] if self.data.validation is None or isinstance(self.data.validation, Holdout) else ["validation"]
        found: dict[str, str] = {}
        for source in [*self.data.train, *held]:
            prefixes = self.prefixes_of(source)
            name = next((name for name, prefix in prefixes.items() if prefix), "")
            other = next((other for other in prefixes if prefixes[other] != prefixes.get(name, "")), None)
            if other is not None:
                texts = f"data.train.{source}" if source in self.data.train else "data.validation"
                found.setdefault(name, f"task {other} reads {texts} too, without this prefix; let each read a source of its own")
        yield from ((f"tasks.{name}.prefix", what) for name, what in found.items())

    def rule_next_sentence_has_several(self) -> Iterator[tuple[str, str]]:
        for task in self.tasks.values():
            if not isinstance(task, TwoSegments):
                continue
            for source_name, source in self.data.train.items():
                if task.data in (None, source_name) and (getattr(source, "document", ""), source.sentence) == ("line", "line"):
                    key = "data.train" if list(self.data.train) == ["train"] else f"data.train.{source_name}"
                    yield (
                        f"{key}.document",
                        f"{task.kind} needs several sentences a document, a line has one; write blank_line or file",
                    )

    def rule_batch_divides_over_replicas(self) -> Iterator[tuple[str, str]]:
        replicas, micro = self.runtime.replicas or 1, self.training.gradient_accumulation_steps
        parts = replicas * (micro if isinstance(micro, int) else 1)
        if replicas > 1 and self.training.batch_size % parts:
            near = nearest_multiples(self.training.batch_size, parts)
            product = f"runtime.replicas = {replicas}" + (f" x gradient_accumulation_steps = {micro}" if parts > replicas else "")
            yield "training.batch_size", f"{self.training.batch_size} is not divisible by {product}; nearest: {near}"

    def rule_groups_of_negatives_stay_together(self) -> Iterator[tuple[str, str]]:
        micro = self.training.gradient_accumulation_steps
        parts = (self.runtime.replicas or 1) * (micro if isinstance(micro, int) else 1)
        yield from self.split_groups(parts)

    def split_groups(self, parts: int) -> Iterator[tuple[str, str]]:
        """For each task that compares the rows of a group to each other, what is wrong with a batch in so many parts."""
        rows = self.training.batch_size // parts
        for name, task in self.tasks.items():
            if isinstance(task, SentenceEmbedding) and task.loss != "cosine" and rows % (task.negatives or self.training.batch_size):
                where = f"batch_size = {self.training.batch_size}" + (f" in {parts} parts (replicas x micro-batches)" if parts > 1 else "")
                fitting = next(size for size in range(min(rows, task.negatives or rows), 0, -1) if rows % size == 0)
                yield (
                    f"tasks.{name}.negatives",
                    f"{where} is not whole groups of {task.negatives or self.training.batch_size}; write {fitting}",
                )

    def rule_early_stopping_has_something_to_watch(self) -> Iterator[tuple[str, str]]:
        if self.training.early_stopping is not None and self.data.validation is None:
            yield "training.early_stopping", "there is no data.validation to watch; add for example validation: {holdout: 1%} under data"

    def rule_monitor_is_produced(self) -> Iterator[tuple[str, str]]:
        stopping = self.training.early_stopping
        names = self.monitors()
        if stopping is not None and stopping.monitor not in names:
            yield "training.early_stopping.monitor", f"{stopping.monitor} is not produced; choose from {', '.join(names)}"

    def rule_the_best_threshold_can_be_found(self) -> Iterator[tuple[str, str]]:
        for name, task in self.tasks.items():
            found = self.data.validation is not None and f"{name}/best_f1" in self.monitors()
            if isinstance(task, QuestionAnswering) and task.no_answer_threshold == "auto" and not found:
                fix = "needs answers of data.validation (training.evaluate_documents above 0); give it these, or write a number such as 0.5"
                yield f"tasks.{name}.no_answer_threshold", f"auto {fix}"

    def rule_validation_tells_of_a_task(self) -> Iterator[tuple[str, str]]:
        untold = self._untold()
        if untold and len(untold) == len(self.tasks):
            columns = ", ".join(f"{role}: ..." for role in ("text", *next(iter(untold.values()))))
            yield "data.validation", f"names no field that a task is evaluated by; add there columns: {{{columns}}}"

    def _untold(self) -> dict[str, list[str]]:
        """The tasks that data.validation cannot tell of, and the roles that it lacks for them."""
        return {name: untold for name, task in self.tasks.items() if (untold := self.data.untold(task.roles))}

    def warnings(self) -> Iterator[tuple[str, str]]:
        for name, roles in self._untold().items():
            yield "data.validation", f"names no {' and '.join(roles)} field, so {name} is not evaluated; {{holdout: 5%}} tells of all tasks"
        validation = getattr(self.data.validation, "paths", ())
        for source in self.data.train.values():
            same = [path for path in getattr(source, "paths", ()) if path in validation]
            if same:
                yield "data.validation", f"{same[0]} is in data.train too; the validation figures will be too good"

    def monitors(self) -> list[str]:
        """Validation figures that early stopping and the best checkpoint may watch."""
        held = self.data.validation
        sources = self.data.train.values() if held is None or isinstance(held, Holdout) else [held]
        roles = {role for source in sources for role in getattr(source, "columns", {})}
        told = {name: task for name, task in self.tasks.items() if not self.data.untold(task.roles)}
        answers = self.training.evaluate_documents > 0
        return ["loss", *(f"{name}/{aim}" for name, task in told.items() for aim in task.aims(roles, answers=answers))]
