"""`lmkit data`: reads everything, counts it, and shows rows as the model sees them; nothing is trained but the tokenizer."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lmkit.data.cache import Cache
from lmkit.data.documents import Documents, all_documents, hold_out
from lmkit.data.spec import Holdout
from lmkit.run.body import with_body
from lmkit.run.console import Console
from lmkit.run.examples import Painter, leftwards, show_row, sided
from lmkit.run.material import CACHE, RUNS, Material, material, tokenizer_of
from lmkit.run.signals import watch
from lmkit.spec_file.load import load
from lmkit.spec_file.spec import RunSpec
from lmkit.text.tokenizer import Tokenizer

SEARCH = 64  # steps among which a batch of every task is looked for


def data(spec: Path, *, overrides: Sequence[str], examples: int, console: Console) -> int:
    """Prints counts of documents, tokens, labels and rows, the tokenizer's facts, warnings, and `examples` rows of each batch kind.

    Raises SpecError, DataError with the place of the first bad record, Interrupted.
    """
    loaded = load(spec, overrides)
    for warning in loaded.warnings:
        console.err(f"warning: {warning}")
    with loaded.placing():
        resolved = with_body(loaded.spec)
    with watch(console.err) as stop:
        tokenizer = tokenizer_of(resolved, say=console.err, stop=stop)
        stuff = material(resolved, tokenizer=tokenizer, cache=RUNS / CACHE, say=console.err, stop=stop)
        for line in facts(resolved, stuff):
            console.out(line)
        repeated = repeats(*_split(resolved, stuff.caches))
        if repeated:
            console.err(f"warning: {repeated}")
        for line in rows(resolved, stuff, examples, Painter(console.is_terminal and not console.environment.get("NO_COLOR"))):
            console.out(line)
    return 0


def facts(spec: RunSpec, stuff: Material) -> Iterator[str]:
    """What was read, the vocabulary, and the rows that are made of it."""
    for name, cache in stuff.caches.items():
        yield from _source(name, cache, spec.data.max_length)
    yield from _vocabulary(stuff.tokenizer, stuff.caches)
    described = stuff.batches.describe()
    for part in ("train", "validation"):
        for group in described[part]:
            lengths = ", ".join(f"{count:,} of {length}" for length, count in group["batches"].items())
            yield (
                f"{part} {', '.join(group['tasks'])}: {group['rows']:,} rows, {group['tokens']:,} tokens with special ones, "
                f"{group['padding']:.1%} padding; batches by row length: {lengths}"
            )
    steps, tokens = described["steps_per_epoch"], described["tokens_per_step"]
    yield f"one epoch: {steps:,} steps of {spec.training.batch_size} rows, {tokens:,.0f} tokens each"


def _source(name: str, cache: Cache, max_length: int) -> Iterator[str]:
    lengths = np.diff(cache.documents)
    tokens = len(cache.tokens) + sum(map(len, cache.others))
    yield (
        f"{name}: {len(cache):,} documents in {len(cache.files):,} file{'s' if len(cache.files) != 1 else ''}, {cache.bytes:,} bytes, "
        f"{tokens:,} tokens, {cache.bytes / tokens:.2f} bytes a token"
    )
    over, median = int((lengths > max_length).sum()), int(np.median(lengths))
    yield f"  tokens a document: {lengths.min():,} to {lengths.max():,}, median {median:,}; {over:,} longer than {max_length}"
    if cache.sentences is not None:
        yield f"  {len(cache.sentences) - 1:,} sentences, {len(cache.tokens) / (len(cache.sentences) - 1):.1f} tokens each"
    for column, names in cache.names.items():
        counts = np.bincount(cache.more[column][cache.more[column] >= 0], minlength=len(names))
        shares = (f"{label} {n:,} ({n / counts.sum():.1%})" for label, n in zip(names, counts, strict=True))
        yield f"  {'tags' if column == 'tags' else 'labels'}: " + ", ".join(shares)
    if "values" in cache.more:
        values = cache.more["values"]
        yield f"  values: {values.min():g} to {values.max():g}, mean {values.mean():.4g}"
    if "answer_first" in cache.more:
        first, last = cache.more["answer_first"], cache.more["answer_last"]
        none, size = int((first < 0).sum()), (last - first + 1)[first >= 0]
        median = np.median(size) if len(size) else 0
        yield f"  answers: {len(size):,} of up to {size.max(initial=0)} tokens, median {median:g}; {none:,} questions have none"
    for reason, count in cache.skipped.items():
        yield f"  left out: {count:,} {reason}"


def _vocabulary(tokenizer: Tokenizer, caches: Mapping[str, Cache]) -> Iterator[str]:
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    for cache in caches.values():
        for column in (cache.tokens, *cache.others):
            for start in range(0, len(column), 2**24):
                counts += np.bincount(column[start : start + 2**24], minlength=tokenizer.vocab_size)
    ordinary = counts[[i for i in range(tokenizer.vocab_size) if i not in tokenizer.specials]]
    yield (
        f"vocabulary: {tokenizer.vocab_size:,} rows, {len(ordinary):,} pieces, of which {int((ordinary == 0).sum()):,} never occur here"
        + (f", {tokenizer.unused:,} rows without a piece" if tokenizer.unused else "")
    )
    if tokenizer.unk >= 0 and counts[tokenizer.unk]:
        yield f"  unknown: {int(counts[tokenizer.unk]):,} tokens ({counts[tokenizer.unk] / counts.sum():.3%})"


def _split(spec: RunSpec, caches: Mapping[str, Cache]) -> tuple[list[Documents], list[Documents]]:
    """Documents for training and for validation, as the batches divide them."""
    pool = [all_documents(name, caches[name]) for name in spec.data.train]
    if isinstance(spec.data.validation, Holdout):
        pairs = [hold_out(documents, spec.data.validation.holdout) for documents in pool]
        return [kept for kept, _ in pairs], [held for _, held in pairs]
    return pool, [all_documents("validation", caches["validation"])] if "validation" in caches else []


def repeats(train: Sequence[Documents], validation: Sequence[Documents]) -> str:
    """A sentence when documents for validation stand in the training text too, else nothing."""
    held = {digest: where for documents in validation for digest, where in _digests(documents)}
    if not held:
        return ""
    found = {digest: where for documents in train for digest, where in _digests(documents) if digest in held}
    if not found:
        return ""
    digest, where = next(iter(found.items()))
    return (
        f"{len(found):,} of {len(held):,} different validation documents are in the training data too, for example {held[digest]} = {where}"
    )


def _digests(documents: Documents) -> Iterator[tuple[bytes, str]]:
    cache = documents.cache
    choices = _choices(cache)
    for number, begin, end in zip(documents.number, documents.begin, documents.end, strict=True):
        digest = hashlib.blake2b(cache.tokens[begin:end].tobytes(), digest_size=12)
        if pair := cache.text("pair"):
            tokens, edges = pair
            digest.update(b"|" + tokens[edges[number] : edges[number + 1]].tobytes())
        if choices is not None:
            tokens, edges = choices
            digest.update(tokens[edges[number] : edges[number + 1]].tobytes())
        yield digest.digest(), cache.where(int(number))


def _choices(cache: Cache) -> tuple[np.ndarray, np.ndarray] | None:
    """The tokens of all choices, and where those of each record begin, and the last end; None where records have none."""
    if "choice_tokens" not in cache.more:
        return None
    tokens = np.asarray(cache.more["choice_tokens"])
    return tokens, np.append(cache.more["choice_begin"], len(tokens))[cache.more["choice_documents"]]


def rows(spec: RunSpec, stuff: Material, examples: int, painter: Painter) -> Iterator[str]:
    """`examples` rows of the first batch of each group of tasks that share their rows."""
    shown: set[tuple[str, ...]] = set()
    for step in range(SEARCH):
        tasks = stuff.batches.tasks_of(step)
        if tasks in shown:
            continue
        shown.add(tasks)
        batch = stuff.batches.train(step)
        causal = leftwards((spec.tasks[name] for name in tasks), batch)
        direction = "left to right" if causal else "both ways, written left to right" if sided(batch) else "both ways"
        yield painter.title(f"{', '.join(tasks)}: rows of step {step}, {batch['tokens'].shape[1]} tokens long, read {direction}")
        yield f"  {painter.legend(causal, sided(batch))}"
        for row in range(min(examples, int((batch["segments"].max(axis=1) > 0).sum()))):
            for line in show_row(batch, row, {name: spec.tasks[name] for name in tasks}, stuff.tokenizer, stuff.batches.labels, painter):
                yield f"  {line}"
