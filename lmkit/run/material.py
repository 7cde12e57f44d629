"""What a run reads: its tokenizer, the token caches of its sources, and the batches made of them; no Keras, no TensorFlow."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lmkit.data.batches import Batches
from lmkit.data.build import build_batches
from lmkit.data.cache import Cache, open_cache
from lmkit.data.sources import read
from lmkit.data.spec import Holdout
from lmkit.errors import Problem, SpecError
from lmkit.models.spec import EncoderDecoder, FromRun
from lmkit.run.body import body_of
from lmkit.run.source import source_of
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.span_corruption import sentinel_names
from lmkit.tasks.spec import SpanCorruption, TwoSegments
from lmkit.text.build import train_tokenizer
from lmkit.text.chat_templates import BUILTIN, give_template
from lmkit.text.tokenizer import Tokenizer

RUNS = Path("runs")  # where runs are, unless said otherwise
CACHE = ".cache"  # beside the runs, shared by them: it can always be made again

Say = Callable[[str], None]
Stop = Callable[[], bool]


@dataclass(frozen=True)
class Material:
    """Everything that does not depend on weights."""

    tokenizer: Tokenizer
    caches: dict[str, Cache]
    batches: Batches

    needs_sentences: bool

    @property
    def fingerprints(self) -> dict[str, str]:
        """What a continued run must find unchanged."""
        return fingerprints(self.caches, self.tokenizer)


def fingerprints(caches: Mapping[str, Cache], tokenizer: Tokenizer) -> dict[str, str]:
    """What a change of any text, or of how it is cut, changes."""
    return {name: cache.fingerprint for name, cache in caches.items()} | {"tokenizer": tokenizer.hash}


def tokenizer_of(spec: RunSpec, *, say: Say, stop: Stop) -> Tokenizer:
    """The tokenizer that the spec declares: read from a file or the run that the model comes from, or trained on data.train.

    It gets the chat template of the spec, with the tokens that a built-in one needs where it is trained, as those that stand for
    hidden parts of texts.
    """
    word = spec.data.chat_template
    if isinstance(spec.model, FromRun):
        tokenizer = source_of(Path(spec.model.from_)).tokenizer()
    else:
        assert spec.tokenizer is not None
        say("training the tokenizer on data.train" if not hasattr(spec.tokenizer, "from_") else f"reading {spec.tokenizer.from_}")
        tokenizer = train_tokenizer(
            spec.tokenizer, _texts(spec, stop), [*(BUILTIN[word].controls if word in BUILTIN else ()), *_sentinels(spec)]
        )
    if word is not None:
        give_template(tokenizer, word)
    return tokenizer


def _sentinels(spec: RunSpec) -> list[str]:
    found = [task for task in spec.tasks.values() if isinstance(task, SpanCorruption)]
    return max((list(sentinel_names(spec.data.max_length, task.mask_rate, task.mean_span)) for task in found), key=len, default=[])


def _texts(spec: RunSpec, stop: Stop) -> Iterator[str]:
    for name, source in spec.data.train.items():
        prefix = prefix_of(spec, name)
        for document in read(source, stop=stop):
            yield prefix + document.text
            if document.pair is not None:
                yield document.pair
            yield from document.choices or ()
            yield from (document.target or ())[:1]


def prefix_of(spec: RunSpec, source: str) -> str:
    """What stands before each text of a source of data.train, or of any other texts: all tasks that read them agree on it."""
    return next(iter(spec.prefixes_of(source).values()), "")


def start_of(spec: RunSpec) -> int | None:
    """The token that the decoder begins with, None for a single stack. Raises SpecError where nothing says which it is."""
    body = body_of(spec)
    if not isinstance(body, EncoderDecoder):
        return None
    if body.start_id is None:
        raise SpecError(Problem("nothing says which token the decoder begins with; add start_id: ...", "model.start_id"))
    return body.start_id


def material(spec: RunSpec, *, tokenizer: Tokenizer, cache: Path, say: Say, stop: Stop) -> Material:
    """Tokenizes what is not in the cache yet and plans the rows.

    Raises SpecError where the tokenizer has more ids than the spec's vocabulary, DataError for anything wrong with the data.
    """
    declared = getattr(spec.tokenizer, "vocab_size", None)
    if declared is not None and tokenizer.vocab_size != declared:
        raise SpecError(Problem(f"{declared} was declared, the tokenizer has {tokenizer.vocab_size} ids", "tokenizer.vocab_size"))
    sentences = any(isinstance(task, TwoSegments) for task in spec.tasks.values())
    sources = dict(spec.data.train)
    validation = spec.data.validation
    if validation is not None and not isinstance(validation, Holdout):
        sources["validation"] = validation
    caches = {
        name: open_cache(source, tokenizer, directory=cache, needs_sentences=sentences, prefix=prefix_of(spec, name), warn=say, stop=stop)
        for name, source in sources.items()
    }
    batches = build_batches(
        spec.data,
        spec.tasks,
        tokenizer,
        {name: caches[name] for name in spec.data.train},
        caches.get("validation"),
        seed=spec.seed,
        batch_size=spec.training.batch_size,
        start=start_of(spec),
    )
    return Material(tokenizer, caches, batches, sentences)
