"""What `auto` keys of a run mean: decided at its first start, found again at every other."""

from dataclasses import asdict

from lmkit.blocks.spec import CustomFeedForward, FeedForward, Mixture
from lmkit.engine import tensorflow as engine
from lmkit.errors import Problem, SpecError
from lmkit.models.derive import resolved
from lmkit.models.spec import stacks
from lmkit.run.body import body_of
from lmkit.run.directory import RunDirectory
from lmkit.run.grid import plan_of
from lmkit.run.material import Material
from lmkit.run.plan import flops_of, written_length
from lmkit.spec_file.spec import RunSpec
from lmkit.tasks.count import scored_per_row
from lmkit.training.checkpointing import newest_facts
from lmkit.training.precision import Decision, activation_bytes, decide


def decision_of(spec: RunSpec, material: Material, run: RunDirectory, replicas: engine.Replicas) -> Decision:
    """The stored decision, or a new one, which is noted in the run before anything depends on it."""
    stored = run.notes.get("decisions") or newest_facts(run.path).get("decisions")
    if stored:
        _require_whole_groups(spec, replicas.count * stored["micro_batches"])
        return Decision(**stored)
    rows = material.batches.batch_size * spec.data.max_length
    flops = flops_of(spec, material.tokenizer.vocab_size)["training"] * material.batches.tokens_per_step / replicas.count
    parts = [resolved(stack, max_length=spec.data.max_length) for stack in stacks(body_of(spec))]
    layers = sum(part.num_layers for part in parts)
    sizes = {"rows": rows // replicas.count, "width": max(part.hidden_size for part in parts), "num_layers": layers}
    needed = activation_bytes(
        inner=max(_inner(inner, part.hidden_size) for part in parts for inner in part.feed_forward),
        num_heads=max(part.num_heads for part in parts),
        length=spec.data.max_length,
        rematerialize=spec.training.rematerialize == "blocks",
        **sizes,
    )
    read = written_length(spec) or spec.data.max_length  # by heads over the vocabulary
    scored = max(scored_per_row(task, length=read) for task in spec.tasks.values())
    decision = decide(
        spec.training,
        spec.runtime,
        flops=flops,
        scored=material.batches.batch_size // replicas.count * scored,
        vocab_size=material.tokenizer.vocab_size,
        steps=plan_of(spec, material.batches).steps,
        replicas=replicas.count,
        sharing=replicas.sharing,
        activation_bytes=needed,
        **sizes,
    )
    _require_whole_groups(spec, replicas.count * decision.micro_batches)
    run.note(decisions=asdict(decision))
    return decision


def in_smaller_parts(decision: Decision, spec: RunSpec, run: RunDirectory, replicas: engine.Replicas) -> Decision | None:
    """The decision with smaller micro-batches, noted in the run; None where they cannot be smaller."""
    smaller = decision.in_smaller_parts(spec.training.batch_size // replicas.count)
    if smaller is None or any(spec.split_groups(replicas.count * smaller.micro_batches)):
        return None
    run.note(decisions=asdict(smaller))
    return smaller


def too_large(decision: Decision) -> Problem:
    """What is said where a step does not fit."""
    about = f"a micro-batch takes about {decision.needed_bytes / 1e9:.2g} GB by estimate, beside weights and optimizer slots; "
    ways = "raise it where it is a number, lower training.batch_size or data.max_length, or write training.rematerialize: blocks"
    what = f"a step needs more memory than the device has; {about if decision.needed_bytes else ''}{ways}"
    return Problem(what, "training.gradient_accumulation_steps")


def _require_whole_groups(spec: RunSpec, parts: int) -> None:
    if split := [Problem(what, key) for key, what in spec.split_groups(parts)]:
        raise SpecError(*split)


def _inner(part: FeedForward, hidden_size: int) -> int:
    """Channels inside a feed-forward part for a token; of a custom one they are guessed."""
    if isinstance(part, CustomFeedForward):
        return 4 * hidden_size
    return (part.intermediate_size or 0) * (part.num_experts if isinstance(part, Mixture) else 1)
