"""Parameters and arithmetic of a model from its words alone, without building it."""

from lmkit.attention.spec import AnyAttention, CustomAttention
from lmkit.blocks.spec import CustomFeedForward, CustomNorm, Gated, LayerNorm, Mixture, Norm
from lmkit.models.derive import look_across, resolved
from lmkit.models.spec import Body, Decoder, Encoder, EncoderDecoder, Stack, stacks
from lmkit.positions.spec import Disentangled, Learned, Relative


def count(spec: Body, *, vocab_size: int, max_length: int) -> dict[str, int]:
    """Exact parameters of the backbone by part: `embeddings`, `layers.{i}`, `norm`, ...; their sum is the whole.

    Layers that share weights are counted once, under the number of the first. The parts of the sides of an encoder-decoder
    have their names before them; `embeddings` is then the table that both read. A custom part counts 0: its words tell nothing.
    """
    if not isinstance(spec, EncoderDecoder):
        return _stack(spec, vocab_size, max_length)
    encoder, decoder = stacks(spec)
    parts = {"embeddings": vocab_size * (encoder.embedding_size or encoder.hidden_size)} if spec.shares_inputs else {}
    own = 0 if spec.shares_inputs else vocab_size
    for side, memory_size in ((encoder, None), (decoder, encoder.hidden_size)):
        counted = _stack(side, own, max_length, memory_size)
        parts |= {f"{side.kind}.{part}": number for part, number in counted.items() if number}
    return parts


def _stack(spec: Encoder | Decoder, vocab_size: int, max_length: int, memory_size: int | None = None) -> dict[str, int]:
    spec = resolved(spec, max_length=max_length)
    parts = {"embeddings": embeddings_size(spec, vocab_size)}
    parts |= {f"layers.{i}": block_size(spec, i, memory_size) for i in range(spec.distinct_layers)}
    if spec.final_norm:
        parts["norm"] = norm_size(spec.norm, spec.hidden_size)
    if spec.convolution is not None:
        parts["convolution"] = _convolution_kernel(spec) + spec.hidden_size + norm_size(spec.norm, spec.hidden_size)
    for position in spec.position:
        if isinstance(position, Relative):
            parts["relative"] = position.num_buckets * spec.num_heads
        if isinstance(position, Disentangled):
            rows, norm = 2 * (position.buckets or position.max_distance), norm_size(spec.norm, spec.hidden_size)
            parts["distance"] = rows * spec.hidden_size + (norm if position.norm else 0)
    return parts


def flops_per_token(spec: Body, *, length: int, causal: bool | None = None, target_length: int | None = None) -> dict[str, float]:
    """Floating-point operations of the backbone for a token of a full row of `length`: `forward`, and `training` = 3 x forward.

    Matrix products only, a multiplication and an addition counting 2: twice the entries of each executed layer's kernels
    (of a mixture, those of the experts that work on a token), and 2 (scores) + 2 (values) x num_heads x head_dim for
    each visible pair of query and key, averaged over the row's queries. What the mask hides or the router passes over is
    not counted, though dense kernels compute it. Of an encoder-decoder that reads the same text on both sides, a token on each;
    with `target_length`, the mean over the tokens of a row of `length` and of one of `target_length` that is written to it.
    """
    if isinstance(spec, EncoderDecoder):
        encoder, decoder = stacks(spec)
        written = target_length or length
        row = length * _forward(encoder, length, False) + written * _forward(decoder, written, True) + _across(spec, length, written)
        forward = row / (length if target_length is None else length + written)
    else:
        forward = _forward(spec, length, spec.kind == "decoder" if causal is None else causal)
    return {"forward": forward, "training": 3 * forward}


def _across(spec: EncoderDecoder, length: int, written: int) -> float:
    """Operations by which a decoder's row looks at an encoder's: keys and values of each read token, and what each written one asks."""
    encoder, decoder = (resolved(side, max_length=length) for side in stacks(spec))
    head_dim = decoder.head_dim or 0
    queries, keys = 2 * decoder.hidden_size * decoder.num_heads * head_dim, 2 * encoder.hidden_size * (decoder.num_kv_heads or 0) * head_dim
    scores = 4.0 * decoder.num_heads * head_dim * length
    return decoder.num_layers * (written * (2.0 * queries + scores) + length * 2.0 * keys)


def _forward(spec: Encoder | Decoder, length: int, causal: bool) -> float:
    spec = resolved(spec, max_length=length)
    width = spec.num_heads * (spec.head_dim or 0)
    reach = () if isinstance(spec.attention, CustomAttention) else range(spec.num_layers)
    keys = sum(visible_keys(length, spec.attention.window_of(i), causal) for i in reach)
    kernels = (
        sum(used_kernels(spec, spec.weights_of(i)) for i in range(spec.num_layers))
        + _embedding_projection(spec)
        + _convolution_kernel(spec)
    )
    return 2.0 * kernels + 4.0 * width * keys + _distance_products(spec, length)


def _distance_products(spec: Encoder | Decoder, length: int) -> float:
    """Operations that scores of distances cost a token: their projections, once a row, and their products with its query and key."""
    forward = 0.0
    for position in spec.position:
        if isinstance(position, Disentangled):
            rows = 2 * (position.buckets or position.max_distance) * (spec.head_dim or 0)
            asks, answers = position.position_to_content * spec.num_heads, position.content_to_position * (spec.num_kv_heads or 0)
            products = (position.position_to_content + position.content_to_position) * spec.num_heads
            forward += 2.0 * rows * (products + spec.hidden_size * (asks + answers) / length)
    return spec.num_layers * forward


def visible_keys(length: int, window: int | None, causal: bool) -> float:
    """Keys that a query of a full row sees, on average over the row."""
    reach = min(length if window is None else window, length)
    if causal:
        return (reach * (reach + 1) / 2 + (length - reach) * reach) / length
    side = min(length - 1 if window is None else window, length - 1)
    return (length * (2 * side + 1) - side * (side + 1)) / length


def norm_size(norm: Norm, width: int) -> int:
    """Parameters of a norm over so many channels."""
    if isinstance(norm, CustomNorm):
        return 0
    return width * (2 if isinstance(norm, LayerNorm) and norm.bias else 1)


def embeddings_size(spec: Stack, vocab_size: int) -> int:
    """Parameters of a resolved stack's embeddings."""
    hidden, width = spec.hidden_size, spec.embedding_size or spec.hidden_size
    summed = width if spec.embedding_norm else hidden
    rows = spec.token_types or 0
    rows += sum((position.max_length or 0) + position.offset for position in spec.position if isinstance(position, Learned))
    norm = norm_size(spec.norm, width) if spec.embedding_norm else 0
    bias = hidden if spec.embedding_norm and spec.embedding_size else 0
    return vocab_size * width + rows * summed + norm + _embedding_projection(spec) + bias


def _embedding_projection(spec: Stack) -> int:
    return (spec.embedding_size or 0) * spec.hidden_size


def _convolution_kernel(spec: Stack) -> int:
    return 0 if spec.convolution is None else spec.convolution.kernel_size * spec.hidden_size**2


def block_size(spec: Stack, i: int, memory_size: int | None = None) -> int:
    """Parameters of block number `i` of a resolved stack; with `memory_size`, of one that looks at states of that width."""
    per_branch = {"sandwich": 2}.get(spec.norm.placement, 1)
    norms = 2 * per_branch - (not spec.norm.first and i == 0) - (spec.parallel == "shared_norm")
    kernels = _attention_kernels(spec) + _feed_forward_kernels(spec, i, all_experts=True)
    if memory_size is not None:
        norms += per_branch
        kernels += _attention_kernels(spec, memory_size) + _attention_biases(spec, look_across(spec)) + _qk_norms(spec, look_across(spec))
    own = _distance_projections(spec)
    return kernels + own + _biases(spec, i) + norms * norm_size(spec.norm, spec.hidden_size) + _qk_norms(spec, spec.attention)


def _distance_projections(spec: Stack) -> int:
    """Parameters of an attention's own projections of distances."""
    if isinstance(spec.attention, CustomAttention):
        return 0
    width = spec.head_dim or 0
    for position in spec.position:
        if isinstance(position, Disentangled) and not position.share_key:
            heads = spec.num_heads * position.position_to_content + (spec.num_kv_heads or 0) * position.content_to_position
            return (spec.hidden_size + 1) * heads * width
    return 0


def used_kernels(spec: Stack, i: int) -> int:
    """Entries of the kernels of block number `i` that a token meets."""
    return _attention_kernels(spec) + _feed_forward_kernels(spec, i, all_experts=False)


def _attention_kernels(spec: Stack, memory_size: int | None = None) -> int:
    if memory_size is None and isinstance(spec.attention, CustomAttention):
        return 0
    queries, keys = spec.hidden_size * spec.num_heads, (memory_size or spec.hidden_size) * (spec.num_kv_heads or 0)
    return 2 * (queries + keys) * (spec.head_dim or 0)


def _feed_forward_kernels(spec: Stack, i: int, *, all_experts: bool) -> int:
    part, hidden = spec.feed_forward_of(i), spec.hidden_size
    if isinstance(part, CustomFeedForward):
        return 0
    inner = part.intermediate_size or 0
    if isinstance(part, Mixture):
        experts = part.num_experts if all_experts else part.experts_per_token
        return hidden * part.num_experts + experts * hidden * inner * (3 if part.gated else 2)
    return hidden * inner * (3 if isinstance(part, Gated) else 2)


def _attention_biases(spec: Stack, attention: AnyAttention) -> int:
    if isinstance(attention, CustomAttention):
        return 0
    head_dim, has = spec.head_dim or 0, attention.bias
    keys = (spec.num_kv_heads or 0) * head_dim
    return spec.num_heads * head_dim * bool(has.query) + keys * (bool(has.key) + bool(has.value)) + spec.hidden_size * bool(has.output)


def _biases(spec: Stack, i: int) -> int:
    attention, part = _attention_biases(spec, spec.attention), spec.feed_forward_of(i)
    if isinstance(part, Mixture | CustomFeedForward) or not part.bias:
        return attention
    return attention + (part.intermediate_size or 0) * (2 if isinstance(part, Gated) else 1) + spec.hidden_size


def _qk_norms(spec: Stack, attention: AnyAttention) -> int:
    if isinstance(attention, CustomAttention) or attention.qk_norm == "none":
        return 0
    heads = (spec.num_heads, spec.num_kv_heads or 0) if attention.qk_norm == "full" else (1, 1)
    return sum(norm_size(spec.norm, number * (spec.head_dim or 0)) for number in heads)
