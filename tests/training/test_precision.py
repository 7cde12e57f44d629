"""What `auto` decides: what is measured faster, and never against what the spec says."""

import pytest

from lmkit.engine import devices
from lmkit.training.precision import Decision, activation_bytes, decide, logits_chunk, micro_batches, scores_bytes
from lmkit.training.spec import AdamW, Constant, Runtime, Training

SIZES = {"rows": 256, "width": 64, "num_layers": 4}


def decided(*, float32=100e9, bfloat16=25e9, flops=1e9, steps=10_000, monkeypatch, runtime=None, scored=0, vocab_size=0, **training):
    """The decision on a machine of the given speeds."""
    speeds = {"float32": float32, "bfloat16": bfloat16}
    monkeypatch.setattr(devices, "product_flops", lambda rows, inner, columns, precision: speeds[precision])
    words = Training(steps=steps, batch_size=32, optimizer=AdamW(learning_rate=Constant(peak=1e-3)), **training)
    return decide(words, runtime or Runtime(), flops=flops, steps=steps, scored=scored, vocab_size=vocab_size, **SIZES)


def test_a_small_model_is_one_float32_program_with_several_steps_a_call(monkeypatch):
    decision = decided(monkeypatch=monkeypatch, flops=0.5e9)
    assert (decision.precision, decision.xla) == ("float32", True)
    assert 1 < decision.steps_per_call <= 16


def test_a_larger_model_is_a_graph_in_whichever_precision_multiplies_faster(monkeypatch):
    slow = decided(monkeypatch=monkeypatch, flops=500e9)
    fast = decided(monkeypatch=monkeypatch, flops=500e9, bfloat16=190e9)
    assert (slow.precision, slow.xla, slow.steps_per_call) == ("float32", False, 1)
    assert (fast.precision, fast.xla, fast.steps_per_call) == ("bfloat16", False, 1)


def test_products_that_hardly_count_stay_in_float32_however_short_the_run_and_whatever_a_busy_machine_measures(monkeypatch):
    for bfloat16 in (25e9, 190e9):
        assert decided(monkeypatch=monkeypatch, flops=1e9, steps=50, bfloat16=bfloat16).precision == "float32"


def test_a_run_too_short_to_earn_back_compilation_stays_a_graph(monkeypatch):
    assert not decided(monkeypatch=monkeypatch, flops=0.5e9, steps=50).xla


def test_what_the_spec_says_is_kept(monkeypatch):
    decision = decided(
        monkeypatch=monkeypatch, precision="bfloat16", gradient_accumulation_steps=4, runtime=Runtime(steps_per_call=3), flops=0.5e9
    )
    assert (decision.precision, decision.steps_per_call, decision.micro_batches) == ("bfloat16", 3, 4)


def test_the_real_probe_leads_to_a_decision_that_says_why():
    words = Training(steps=10, batch_size=8, optimizer=AdamW(learning_rate=Constant(peak=1e-3)), gradient_accumulation_steps="auto")
    decision = decide(words, Runtime(), flops=1e9, steps=10, **SIZES)
    assert isinstance(decision, Decision) and "GFLOP/s" in decision.why and decision.micro_batches == 1


@pytest.mark.parametrize(("bytes_needed", "parts"), [(0, 1), (60, 1), (61, 2), (119, 2), (200, 4), (700, 12), (10**6, 12)])
def test_micro_batches_are_the_fewest_equal_parts_that_fit(bytes_needed, parts):
    assert micro_batches(12, bytes_needed, 100) == parts


def test_processors_of_one_machine_share_its_memory(monkeypatch):
    monkeypatch.setattr(devices, "machine_memory", lambda: 8e9)
    words = Training(steps=10, batch_size=32, optimizer=AdamW(learning_rate=Constant(peak=1e-3)), gradient_accumulation_steps="auto")
    alone, beside = (
        decide(words, Runtime(), flops=1e9, steps=10, replicas=4, sharing=sharing, activation_bytes=8e9, **SIZES) for sharing in (1, 4)
    )
    assert beside.micro_batches == 4 * alone.micro_batches


def test_rematerializing_keeps_less():
    sizes = {"rows": 2048, "width": 384, "inner": 1536, "num_heads": 6, "num_layers": 6, "length": 256}
    assert activation_bytes(rematerialize=True, **sizes) < 0.3 * activation_bytes(rematerialize=False, **sizes)


def test_scores_over_the_vocabulary_are_computed_in_chunks_where_they_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr(devices, "memory_bytes", lambda sharing: 8e9 / sharing)
    for scored, chunk in ((256, None), (4096, 256)):
        decision = decided(monkeypatch=monkeypatch, scored=scored, vocab_size=50_000)
        assert (decision.logits_chunk, decision.micro_batches) == (chunk, 1)
    assert decided(monkeypatch=monkeypatch, scored=4096, vocab_size=50_000, gradient_accumulation_steps=8).logits_chunk is None
    assert decided(monkeypatch=monkeypatch, scored=256, vocab_size=50_000, logits_chunk=64).logits_chunk == 64


@pytest.mark.parametrize("kind", ["cpu", "tpu"])
def test_memory_is_shared_out_alike_on_every_kind_of_device(monkeypatch, kind):
    monkeypatch.setattr(devices, "memory_bytes", lambda sharing: 8e9 / sharing)
    monkeypatch.setattr(devices, "facts", lambda: devices.Facts(kind, 1, kind, "", ""))
    large = {"scored": 64 * 1024, "vocab_size": 250_000, "monkeypatch": monkeypatch, "gradient_accumulation_steps": "auto"}
    chosen = decided(**large)
    assert chosen.logits_chunk is not None and chosen.needed_bytes == scores_bytes(chosen.logits_chunk, 250_000)
    given = decided(logits_chunk=1024, **large)
    assert (given.logits_chunk, given.micro_batches, given.needed_bytes) == (1024, 1, scores_bytes(1024, 250_000))


@pytest.mark.parametrize("memory", [1e8, 1e9, 1e10, 1e11])
@pytest.mark.parametrize("vocabulary", [1_000, 50_000, 256_000])
def test_a_chunk_s_scores_take_less_than_all_of_them(memory, vocabulary):
    chunk = logits_chunk(2**20, vocabulary, memory)
    assert chunk is None or chunk == 128 or scores_bytes(chunk, vocabulary) <= 0.1 * memory
    assert scores_bytes(chunk or 2**20, vocabulary) < max(0.11 * memory, scores_bytes(129, vocabulary))
