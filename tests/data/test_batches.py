"""Batches are a pure function of seed and step, and lose or repeat nothing."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lmkit.data.batches import Batches, slice_batch
from lmkit.data.build import build_batches, evaluation_batches
from lmkit.data.spec import Data
from lmkit.errors import DataError
from lmkit.tasks.spec import AnyTask, CausalLm, Classification, MaskedLm, NextSentence

Make = Callable[..., Any]
LENGTHS = [3, 40, 7, 100, 1, 12, 5, 61, 33, 9, 20, 18, 6, 4, 11, 25]
LM: dict[str, AnyTask] = {"lm": CausalLm()}
MLM: dict[str, AnyTask] = {"mlm": MaskedLm()}
BERT: dict[str, AnyTask] = {"mlm": MaskedLm(), "nsp": NextSentence()}


def data(**words: Any) -> Data:
    return Data.model_validate({"train": {"text": "corpus.txt"}, "max_length": 32, **words})


def labelled(cache: Make, labels: np.ndarray, names: tuple[str, ...], lengths: Any = None, **more: np.ndarray) -> Any:
    """Records with a label each, of 5 tokens unless said."""
    return cache(
        [5] * len(labels) if lengths is None else lengths, more={"labels": labels.astype(np.int32), **more}, names={"labels": names}
    )


def build(tokenizer: Any, source: Any, tasks: dict[str, AnyTask], seed: int = 7, batch_size: int = 4, **words: Any) -> Batches:
    caches = source if isinstance(source, dict) else {"train": source}
    validation = words.pop("validation_cache", None)
    return build_batches(data(**words), tasks, tokenizer, caches, validation, seed=seed, batch_size=batch_size)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def unmasked(batch: dict[str, np.ndarray]) -> np.ndarray:
    """The tokens with the hidden ones put back."""
    tokens = batch["tokens"].copy()
    if "mlm/where" in batch:
        rows, places = np.nonzero(batch["mlm/weights"])
        tokens[rows, batch["mlm/where"][rows, places]] = batch["mlm/labels"][rows, places]
    return tokens


def text_of(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Text tokens of a batch, in the order of rows."""
    return batch["tokens"][(batch["segments"] > 0) & (batch["tokens"] >= 5)]


def epoch_of(batches: Batches, epoch: int) -> list[dict[str, np.ndarray]]:
    n = batches.steps_per_epoch
    return [batches.train(step) for step in range(epoch * n, (epoch + 1) * n)]


@pytest.mark.parametrize("tasks", [LM, MLM, BERT, {**LM, **MLM}])
def test_a_step_gives_the_same_batch_in_any_order_and_from_a_fresh_object(tokenizer: Any, cache: Make, tasks: Any) -> None:
    first, second = (build(tokenizer, cache(LENGTHS), tasks) for _ in range(2))
    forwards = [first.train(step) for step in range(14)]
    for step in (13, 2, 9, 0, 2):
        assert same(second.train(step), forwards[step])
    assert not same(forwards[0], forwards[first.steps_per_epoch])
    assert not same(forwards[0], build(tokenizer, cache(LENGTHS), tasks, seed=8).train(0))


@pytest.mark.parametrize("packing", [True, False])
def test_a_training_epoch_predicts_every_token_but_the_first_ones_exactly_once(tokenizer: Any, cache: Make, packing: bool) -> None:
    source = cache(LENGTHS)
    batches = build(tokenizer, source, LM, packing=packing)
    expected = np.sort(np.setdiff1d(source.tokens, source.tokens[source.documents[:-1]]))
    for epoch in range(3):
        labels = np.concatenate([b["lm/labels"][b["lm/weights"] > 0] for b in epoch_of(batches, epoch)])
        assert np.array_equal(np.sort(labels[labels != tokenizer.eos]), expected)
        assert np.sum(labels == tokenizer.eos) == len(LENGTHS)


@pytest.mark.parametrize("packing", [True, False])
def test_validation_predicts_every_token_exactly_once(tokenizer: Any, cache: Make, packing: bool) -> None:
    source = cache(LENGTHS)
    batches = build(tokenizer, cache([50, 50, 50, 50]), LM, packing=packing, validation_cache=source)
    labels = np.concatenate([b["lm/labels"][b["lm/weights"] > 0] for b in batches.validation])
    expected = np.setdiff1d(source.tokens, source.tokens[source.documents[:-1]])
    assert np.array_equal(np.sort(labels[labels != tokenizer.eos]), expected)
    assert np.sum(labels == tokenizer.eos) == len(LENGTHS)


def test_the_documents_of_a_step_are_those_of_its_rows(tokenizer: Any, cache: Make) -> None:
    batches = build(tokenizer, cache(LENGTHS), LM, packing=False)
    for step in (0, batches.steps_per_epoch):
        named, rows = batches.documents(step), batches.train(step)["segments"].any(axis=1).sum()
        assert len(named) == rows and all(len(row) == 1 for row in named)
    seen = [row[0] for step in range(batches.steps_per_epoch) for row in batches.documents(step)]
    assert set(seen) == set(range(len(LENGTHS)))


def test_the_label_of_a_place_is_the_next_token_of_its_document(tokenizer: Any, cache: Make) -> None:
    source = cache(LENGTHS)
    last = source.tokens[source.documents[1:] - 1]
    for batch in epoch_of(build(tokenizer, source, LM), 0):
        real = batch["lm/weights"] > 0
        tokens, labels = batch["tokens"][real], batch["lm/labels"][real]
        assert np.array_equal(labels, np.where(np.isin(tokens, last), tokenizer.eos, tokens + 1))


@pytest.mark.parametrize("tasks", [LM, MLM])
def test_segments_never_mix_documents_and_positions_start_anew_in_each(tokenizer: Any, cache: Make, tasks: Any) -> None:
    source = cache(LENGTHS)
    several = 0
    for batch in epoch_of(build(tokenizer, source, tasks), 0):
        for tokens, segments, positions in zip(unmasked(batch), batch["segments"], batch["positions"], strict=True):
            several += segments.max() > 1
            assert (np.diff(segments[segments > 0]) >= 0).all()
            for segment in range(1, segments.max() + 1):
                here = segments == segment
                assert np.array_equal(positions[here], np.arange(here.sum()))
                text = tokens[here][tokens[here] >= 5]
                assert len(np.unique(np.searchsorted(source.documents, text.astype(int) - 5, side="right"))) == 1
                if tasks is MLM:
                    assert (tokens[here][0], tokens[here][-1]) == (tokenizer.bos, tokenizer.eos)
    assert several


def test_padding_is_without_weight_segment_and_mask(tokenizer: Any, cache: Make) -> None:
    for tasks in (LM, MLM, BERT):
        batches = build(tokenizer, cache([20] * 9), tasks, packing=False, validation_cache=cache([9, 9, 9]))
        for batch in [*epoch_of(batches, 0), *batches.validation]:
            empty = (batch["segments"] == 0).all(axis=1)
            assert (batch["tokens"][batch["segments"] == 0] == tokenizer.pad).all()
            for name in tasks:
                assert (batch[f"{name}/weights"][empty] == 0).all()
                assert batch[f"{name}/denominator"] == pytest.approx(batch[f"{name}/weights"].sum())


def test_every_array_has_the_promised_type_and_labels_are_in_range(tokenizer: Any, cache: Make) -> None:
    for tasks in (LM, BERT):
        batch = build(tokenizer, cache(LENGTHS), tasks).train(3)
        for key, value in batch.items():
            kind = np.uint32 if key == "row_key" else np.float32 if key.endswith(("weights", "denominator")) else np.int32
            assert value.dtype == kind, key
            assert value.shape == () if key.endswith("denominator") else len(value) == 4
        for name in tasks:
            labels = batch[f"{name}/labels"]
            assert labels.min() >= 0 and labels.max() < (2 if name == "nsp" else tokenizer.vocab_size)


def test_half_of_the_pairs_are_random_from_another_document_and_the_others_follow(tokenizer: Any, cache: Make) -> None:
    source = cache([100, 300, 7, 60, 1, 200, 45], sentence=6)
    batches = build(tokenizer, source, {"nsp": NextSentence()}, batch_size=2)
    seen = []
    for epoch in range(2):
        labels = []
        for batch in epoch_of(batches, epoch):
            for row in np.flatnonzero(batch["nsp/weights"]):
                text = batch["tokens"][row] >= 5
                a, b = (batch["tokens"][row][text & (batch["token_types"][row] == kind)].astype(int) for kind in (0, 1))
                documents = [np.unique(np.searchsorted(source.documents, part - 5, side="right")) for part in (a, b)]
                assert all(len(d) == 1 for d in documents)
                follows = batch["nsp/labels"][row] == 0
                assert (documents[0] == documents[1]) == follows == (a[-1] + 1 == b[0])
                labels.append(batch["nsp/labels"][row])
                seen.append(tuple(a))
        assert sum(labels) == len(labels) // 2
    assert len(set(seen)) > len(seen) / 2, "epochs split their chunks at different places"


def test_pairs_are_laid_as_bos_a_eos_b_eos_in_one_segment(tokenizer: Any, cache: Make) -> None:
    batch = build(tokenizer, cache([200, 200], sentence=5), {"nsp": NextSentence()}).train(0)
    for tokens, segments, types, positions in zip(*(batch[k] for k in ("tokens", "segments", "token_types", "positions")), strict=True):
        n = int((segments > 0).sum())
        special = np.flatnonzero(tokens[:n] < 5)
        assert tokens[special].tolist() == [tokenizer.bos, tokenizer.eos, tokenizer.eos] and special[0] == 0 and special[2] == n - 1
        assert set(segments[:n]) == {1}
        assert np.array_equal(types[:n], np.arange(n) > special[1])
        assert np.array_equal(positions[:n], np.arange(n))


def test_neither_lengths_nor_coverage_tell_random_pairs_from_real_ones(tokenizer: Any, cache: Make) -> None:
    source = cache([400] * 60, sentence=6)
    batches = build(tokenizer, source, {"nsp": NextSentence()}, batch_size=8, max_length=64)
    lengths: dict[int, list[int]] = {0: [], 1: []}
    for batch in epoch_of(batches, 0):
        for label, weight, segments in zip(batch["nsp/labels"], batch["nsp/weights"], batch["segments"], strict=True):
            if weight:
                lengths[int(label)].append(int(segments.sum()))
    assert abs(np.mean(lengths[0]) - np.mean(lengths[1])) < 1.5
    shown = np.concatenate([text_of(batch) for batch in epoch_of(batches, 0)])
    assert len(np.unique(shown)) > 0.95 * len(source.tokens)


def test_one_document_cannot_make_random_pairs(tokenizer: Any, cache: Make) -> None:
    with pytest.raises(DataError, match="only one; set document: blank_line"):
        build(tokenizer, cache([500]), BERT)


def test_masked_and_next_sentence_share_rows_while_other_groups_take_turns(tokenizer: Any, cache: Make) -> None:
    records = labelled(cache, np.arange(40) % 2, ("no", "yes"))
    tasks: dict[str, AnyTask] = {**BERT, "stars": Classification(weight=3.0)}
    batches = build(tokenizer, records, tasks)
    turns = [batches.tasks_of(step) for step in range(30)]
    assert turns.count(("mlm", "nsp")) == turns.count(("stars",)) == 15, "weights act in the loss"
    for step, turn in enumerate(turns[:6]):
        assert {key.split("/")[0] for key in batches.train(step) if "/" in key} == set(turn)


def test_weighted_sources_give_their_shares_and_each_runs_through_its_own_epochs(tokenizer: Any, cache: Make) -> None:
    long, small = cache([10] * 300), cache([10] * 30, first=10_005)
    words = {"train": {"a": {"text": "a", "weight": 3.0}, "b": {"text": "b", "weight": 1.0}}, "packing": False}
    batches = build(tokenizer, {"a": long, "b": small}, LM, batch_size=10, **words)
    assert batches.steps_per_epoch == 33
    text = np.concatenate([text_of(batch) for epoch in range(4) for batch in epoch_of(batches, epoch)])
    from_b = text[text >= 10_000]
    assert len(from_b) == len(text) // 4
    counts = np.bincount(from_b - 10_005, minlength=300)
    assert counts.max() - counts.min() <= 1
    counts = np.bincount(text[text < 10_000] - 5, minlength=3000)
    assert counts.max() - counts.min() <= 1


def test_a_task_reads_the_source_it_is_bound_to(tokenizer: Any, cache: Make) -> None:
    a, b = cache([10] * 50), cache([10] * 50, first=10_005)
    words = {"train": {"a": {"text": "a"}, "b": {"text": "b"}}}
    batches = build(tokenizer, {"a": a, "b": b}, {"one": CausalLm(data="a"), "two": CausalLm(data="b")}, **words)
    for batch in epoch_of(batches, 0):
        assert (text_of(batch) >= 10_000).all() if "two/labels" in batch else (text_of(batch) < 10_000).all()
    pooled = build(tokenizer, {"a": a, "b": b}, LM, **words)
    text = np.concatenate([text_of(batch) for batch in epoch_of(pooled, 0)])
    assert np.array_equal(np.sort(text), np.concatenate([a.tokens, b.tokens]))


@pytest.mark.parametrize("lengths", [[500], [20] * 30])
def test_a_holdout_takes_text_out_of_training_and_is_the_same_for_every_seed(tokenizer: Any, cache: Make, lengths: list[int]) -> None:
    source = cache(lengths)
    held = []
    for seed in (1, 2):
        batches = build(tokenizer, source, LM, seed=seed, batch_size=2, validation={"holdout": 0.1})
        train = np.concatenate([text_of(batch) for batch in epoch_of(batches, 0)])
        held.append(np.concatenate([text_of(batch) for batch in batches.validation]))
        assert np.array_equal(np.sort(np.concatenate([train, held[-1]])), source.tokens)
        assert len(held[-1]) == len(source.tokens) // 10
    assert np.array_equal(*held)
    if len(lengths) == 1:
        assert np.array_equal(np.sort(held[0]), source.tokens[-50:])


def test_validation_is_the_same_at_any_time_and_hides_the_same_tokens_for_every_seed(tokenizer: Any, cache: Make) -> None:
    one, two = (build(tokenizer, cache(LENGTHS), BERT, seed=seed, validation_cache=cache([90, 80], sentence=5)) for seed in (1, 2))
    before = list(one.validation)
    one.train(5)
    assert len(before) == len(one.validation) == len(two.validation)
    for i in reversed(range(len(before))):
        assert same(one.validation[i], before[i]) and same(two.validation[i], before[i])
    with pytest.raises(IndexError):
        one.validation[len(before)]


def test_rows_come_in_few_lengths(tokenizer: Any, cache: Make) -> None:
    batches = build(tokenizer, cache(list(range(1, 60)) * 4), MLM, packing=False, buckets=3, max_length=64)
    widths = {batch["tokens"].shape[1] for epoch in range(3) for batch in epoch_of(batches, epoch)}
    assert widths <= set(batches.buckets) and len(batches.buckets) <= 3 and 64 in batches.buckets
    assert batches.shapes == widths
    for width in widths:
        places = {b["mlm/where"].shape[1] for b in epoch_of(batches, 0) if b["tokens"].shape[1] == width}
        assert places == {int(np.ceil(0.15 * width))}


def test_workers_slices_make_up_the_global_batch_and_keep_its_denominators(tokenizer: Any, cache: Make) -> None:
    batch = build(tokenizer, cache(LENGTHS), BERT).train(1)
    parts = [slice_batch(batch, start, start + 2) for start in (0, 2)]
    for key, value in batch.items():
        joined = parts[0][key] if value.ndim == 0 else np.concatenate([part[key] for part in parts])
        assert np.array_equal(joined, value)


def test_records_are_labelled_and_cut_from_the_longer_side(tokenizer: Any, cache: Make) -> None:
    pairs = cache([40, 2, 3, 0], first=1000)
    columns = {"pair_tokens": pairs.tokens, "pair_documents": pairs.documents}
    records = labelled(cache, np.array([0, 1, 1, 0]), ("bad", "good"), [4, 40, 5, 30], **columns)
    batches = build(tokenizer, records, {"stars": Classification(labels=("good", "bad"))}, max_length=16)
    assert batches.labels == {"stars": ("good", "bad")}
    found = {}
    for batch in epoch_of(batches, 0):
        for tokens, types, label in zip(batch["tokens"], batch["token_types"], batch["stars/labels"], strict=True):
            text = tokens >= 5
            a, b = (tokens[text & (types == kind)] for kind in (0, 1))
            found[int(np.searchsorted(records.documents, a[0] - 5, side="right")) - 1] = (len(a), len(b), int(label))
    assert found == {0: (4, 9, 1), 1: (11, 2, 0), 2: (5, 3, 0), 3: (13, 0, 1)}


def test_an_unknown_label_in_validation_names_the_label_the_choices_and_the_place(tokenizer: Any, cache: Make) -> None:
    train = labelled(cache, np.arange(8) % 2, ("no", "yes"))
    other = labelled(cache, np.array([0, 1, 0]), ("no", "maybe"))
    with pytest.raises(DataError) as caught:
        build(tokenizer, train, {"c": Classification()}, validation_cache=other)
    assert str(caught.value) == 'corpus.txt:2: tasks.c.labels: label "maybe" is not one of no, yes; no text of the training data has it'


def test_what_cannot_be_trained_on_is_refused(tokenizer: Any, cache: Make) -> None:
    with pytest.raises(DataError, match="3 rows are fewer than one batch of 4; lower it to 3"):
        build(tokenizer, cache([30, 30, 30]), LM)
    with pytest.raises(DataError, match="gives no rows; give it longer texts, or the tasks another source"):
        build(tokenizer, cache([0, 0]), LM)
    with pytest.raises(DataError, match="not below the vocabulary of 30000"):
        build(tokenizer, cache(LENGTHS, first=29_990), LM).train(0)


def test_evaluating_other_files_needs_no_training_data(tokenizer: Any, cache: Make) -> None:
    source = cache(LENGTHS)
    batches = build(tokenizer, cache([50] * 8), LM, validation_cache=source)
    alone = evaluation_batches(data(), LM, tokenizer, {"file": source}, labels={}, buckets=batches.buckets, batch_size=4)
    assert all(same(a, b) for a, b in zip(alone, batches.validation, strict=True))


def test_description_counts_what_is_there(tokenizer: Any, cache: Make) -> None:
    batches = build(tokenizer, cache(LENGTHS), MLM)
    found = batches.describe()["train"][0]
    cells = sum((batch["segments"] > 0).sum() for batch in epoch_of(batches, 0))
    assert found["tokens"] == cells
    assert batches.tokens_per_step == pytest.approx(cells / batches.steps_per_epoch)
    assert sum(found["batches"].values()) == batches.steps_per_epoch


def test_weights_of_labels_are_for_training_alone(tokenizer: Any, cache: Make) -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1])
    records = labelled(cache, labels, ("no", "yes"))
    batches = build(tokenizer, records, {"c": Classification(class_weights="balanced")}, validation_cache=records)
    for batch in epoch_of(batches, 0):
        np.testing.assert_allclose(batch["c/weights"], np.where(batch["c/labels"] == 0, 8 / 12, 8 / 4), rtol=1e-6)
        assert batch["c/denominator"] == pytest.approx(batch["c/weights"].sum())
    assert all(set(batch["c/weights"]) == {1} for batch in batches.validation)


@pytest.mark.parametrize(
    ("column", "task", "weights"),
    [
        ("labels", Classification(class_weights="balanced", label_smoothing=0.1), (8 / 12, 8 / 4)),
        ("sets", Classification(class_weights="balanced", multi_label=True), (2 / 6, 6 / 2)),
    ],
)
def test_losses_of_all_labels_are_told_what_each_counts_in_training(
    tokenizer: Any, cache: Make, column: str, task: Classification, weights: tuple[float, float]
) -> None:
    more = {column: np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int32), **({"set_documents": np.arange(9)} if column == "sets" else {})}
    records = cache(np.arange(3, 11), more=more, names={column: ("no", "yes")})
    batches = build(tokenizer, records, {"c": task}, validation_cache=records)
    for batch in epoch_of(batches, 0):
        np.testing.assert_allclose(batch["c/class_weights"], np.outer(batch["c/weights"] > 0, weights), rtol=1e-6)
    assert all("c/class_weights" not in batch for batch in batches.validation)


def test_sets_of_labels_follow_their_records_through_any_selection(tokenizer: Any, cache: Make) -> None:
    sets = [[0, 2], [], [1], [0, 1, 2], [2], [], [1, 0], [0], [2, 1], [0], [1], [2]]
    more = {"sets": np.concatenate(sets).astype(np.int32), "set_documents": np.cumsum([0, *map(len, sets)])}
    records = cache(np.arange(3, 15), more=more, names={"sets": ("a", "b", "c")})
    task = Classification(multi_label=True, labels=("c", "a", "b"))
    batches = build(tokenizer, records, {"c": task}, validation={"holdout": 0.3})
    seen = []
    for batch in [*epoch_of(batches, 0), *batches.validation]:
        for row, labels, weight in zip(batch["tokens"], batch["c/labels"], batch["c/weights"], strict=True):
            record = int(np.searchsorted(records.documents, row[1] - 5, side="right")) - 1
            seen += [record] if weight else []
            assert not weight or labels.tolist() == [int(i in sets[record]) for i in (2, 0, 1)]
    assert sorted(seen) == list(range(12))
