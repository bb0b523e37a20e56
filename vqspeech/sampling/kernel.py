"""The steps of a WaveNet as one Triton kernel: a program owns a few streams and loops over time and layers.

Sizes are powers of two of at least 16, padded with zeros by the caller; weights are (outputs, inputs). Between
launches a program's state is in global memory: the rings of past inputs, and the level drawn last.

A program of one stream works on vectors, (channels,), and one of several on matrices, (streams, channels): `...`
below stands for the streams, if there is such a dimension.
"""

# A kernel has no Python types, and neither has triton.
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"
import triton
import triton.language as tl


@triton.jit
def product(x, weight, start):
    """Add to `start` x, (..., inputs), times the transpose of weight, (outputs, inputs), in float32.

    Tensor cores take both in the type of the weight. One bfloat16 has 8 bits for x, too few (the logits of 20 layers
    would err four times as much as from rounding the weights), so x is split into two, of 16 bits.
    """
    if len(x.shape) == 1:
        return start + tl.sum(x[None, :] * weight.to(tl.float32), 1)
    elif weight.dtype == tl.float32:
        return tl.dot(x, tl.trans(weight), start, input_precision="ieee")
    else:
        high = x.to(weight.dtype)
        low = (x - high.to(tl.float32)).to(weight.dtype)
        return tl.dot(high, tl.trans(weight), tl.dot(low, tl.trans(weight), start))


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)); an overflow of the exponential gives 0, which is correct."""
    return 1 / (1 + tl.exp(-x))


@triton.jit
def total(x):
    """Sum over the last dimension, which is kept."""
    return tl.sum(x, -1, keep_dims=True)


@triton.jit
def nucleus(likelihood, top_p):
    """Set to 0 what is outside the smallest set of levels with `top_p` of the total, (..., levels).

    Non-negative floats are ordered like their bits, so the likelihood of the last level inside is found one bit at a
    time, without sorting. Likelihoods are at most 1.
    """
    bits = likelihood.to(tl.int32, bitcast=True)
    wanted = top_p * total(likelihood)
    least = (0 * wanted).to(tl.int32)
    for place in range(30):
        higher = least | (1 << (29 - place))
        mass = total(tl.where(bits >= higher, likelihood, 0.0))
        least = tl.where(mass >= wanted, higher, least)
    tied = (bits == least).to(tl.int32)
    # ties go to the lower level
    likelier = total(tl.where(bits > least, likelihood, 0.0))
    likelier += (tl.cumsum(tied, -1) - tied) * least.to(tl.float32, bitcast=True)
    inside = (bits > least) | ((tied > 0) & (likelier < wanted))
    return tl.where(inside, likelihood, 0.0)


@triton.jit
def choose(logits, uniform, temperature, top_p, greedy: tl.constexpr, narrow: tl.constexpr):
    """Invert the cumulative distribution of logits, (..., levels), at uniform numbers, (..., 1)."""
    if greedy:
        return tl.argmax(logits, -1, keep_dims=True)
    # impossible levels are -inf, also at an infinite temperature
    scaled = (logits - tl.max(logits, -1, keep_dims=True)) / temperature
    likelihood = tl.where(logits > -float("inf"), tl.exp(scaled), 0.0)
    if narrow:
        likelihood = nucleus(likelihood, top_p)
    level = tl.arange(0, logits.shape[-1])
    last = tl.max(tl.where(likelihood > 0, level, 0), -1, keep_dims=True)
    # a parallel sum can decrease by rounding where 0 is added: only levels with some likelihood count
    reached = tl.cumsum(likelihood, -1) > uniform * total(likelihood)
    first = tl.where(reached & (likelihood > 0), level, logits.shape[-1])
    return tl.minimum(tl.min(first, -1, keep_dims=True), last)


@triton.jit(
    do_not_specialize=["begin", "length", "hop", "first_frame", "frames", "slots", "span", "count"]
)
def steps(
    embedding,  # (levels, residual), float32
    taps,  # (3, count + 1, residual), float32; None without pitch taps
    gate_weight,  # (layers, past | now, filter | gate, half, residual)
    residual_weight,  # (layers, residual, half)
    residual_bias,  # (layers, residual), float32
    skip_weight,  # (layers, skip, half)
    skip_bias,  # (skip,), float32
    hidden_weight,  # (skip, skip)
    hidden_bias,  # (skip,), float32
    output_weight,  # (levels, skip)
    output_bias,  # (levels,), float32
    rings,  # int32, (layers, 2): first slot and number of slots
    past,  # float32, (streams, slots, residual)
    newest,  # int32, (streams,): the level before the next
    history,  # int32, (streams, span): the level before each sample, a ring for pitch taps
    condition,  # float32, (streams, frames, layers, filter | gate, half)
    lag,  # int32, (streams, frames): samples of a pitch period
    given,  # levels before each sample, int32, (streams, length); or uniform numbers, float32
    found,  # logits, float32, (streams, length, count); or levels, int32, (streams, length)
    begin,
    length,
    hop,
    first_frame,
    frames,
    slots,
    span,
    count,
    temperature,
    top_p,
    forced: tl.constexpr,
    greedy: tl.constexpr,
    narrow: tl.constexpr,
    streams: tl.constexpr,
    layers: tl.constexpr,
    residual: tl.constexpr,
    half: tl.constexpr,
    skip: tl.constexpr,
    levels: tl.constexpr,
    part: tl.constexpr,
    stages: tl.constexpr,
):
    """Advance by `length` samples from time `begin`.

    With `forced` the levels are given and logits are computed, else uniform numbers are given and levels are drawn. See
    `vqspeech.nn.wavenet.WaveNet.embed` for pitch taps; no slot of their ring is both read and written in a step.

    A ring has one slot more than its layer's dilation, so within a step no slot is both read and written, and loads of
    later layers may overtake stores. Between steps the threads of a program synchronise, since each may load what
    another has stored.
    """
    stream = tl.program_id(0) * streams + tl.arange(0, streams)
    if streams > 1:
        stream = stream[:, None]
    stream = stream.to(tl.int64)
    r = tl.arange(0, residual)
    h = tl.arange(0, half)
    s = tl.arange(0, skip)
    v = tl.arange(0, levels)
    p = tl.arange(0, part)
    past_row = past + stream * slots * residual + r
    condition_row = condition + stream * frames * layers * 2 * half + h
    gate_tile = gate_weight + h[:, None] * residual + r
    residual_tile = residual_weight + r[:, None] * half + h
    skip_tile = skip_weight + s[:, None] * half + h
    hidden_tile = hidden_weight + p[:, None] * skip + s
    output_tile = output_weight + v[:, None] * skip + p
    level = tl.load(newest + stream)
    step = 0
    while step < length:
        time = begin + step
        if forced:
            level = tl.load(given + stream * length + step)
        x = tl.load(embedding + level * residual + r)
        if taps is not None:
            period = tl.load(lag + stream * frames + time // hop - first_frame)
            for tap in tl.static_range(3):
                # the last row stands for no period, or a sample before the first
                place = time - period + tap
                there = (period >= 2) & (place > 0)
                # the newest level is not in the ring yet
                older = there & (place < time)
                row = tl.load(history + stream * span + place % span, mask=older, other=0)
                row = tl.where(place < time, row, level)
                row = tl.where(there, row, count) + tap * (count + 1)
                x += tl.load(taps + row * residual + r)
            tl.store(history + stream * span + time % span, level)
        frame = (time // hop - first_frame) * layers
        skipped = tl.zeros((stream + s).shape, tl.float32)
        for layer in tl.range(0, layers, num_stages=stages):
            slot = tl.load(rings + 2 * layer)
            size = tl.load(rings + 2 * layer + 1)
            before = tl.load(past_row + (slot + (time + 1) % size) * residual)
            tl.store(past_row + (slot + time % size) * residual, x)
            active = condition_row + (frame + layer) * 2 * half
            tile = gate_tile + layer * 4 * half * residual
            filtered = product(before, tl.load(tile), tl.load(active))
            gate = product(before, tl.load(tile + half * residual), tl.load(active + half))
            filtered = product(x, tl.load(tile + 2 * half * residual), filtered)
            gate = product(x, tl.load(tile + 3 * half * residual), gate)
            # tanh(a) = 2 sigmoid(2 a) - 1
            gated = (2 * sigmoid(2 * filtered) - 1) * sigmoid(gate)
            x = product(gated, tl.load(residual_tile + layer * residual * half), x)
            x += tl.load(residual_bias + layer * residual + r)
            skipped = product(gated, tl.load(skip_tile + layer * skip * half), skipped)
        skipped = tl.maximum(skipped + tl.load(skip_bias + s), 0)
        logits = tl.zeros((stream + v).shape, tl.float32)
        # a part of the hidden layer at a time, so that no tile is larger than those of the layers
        for first in tl.range(0, skip, part, num_stages=stages):
            hidden = tl.zeros((stream + p).shape, tl.float32)
            hidden = product(skipped, tl.load(hidden_tile + first * skip), hidden)
            hidden = tl.maximum(hidden + tl.load(hidden_bias + first + p), 0)
            logits = product(hidden, tl.load(output_tile + first), logits)
        logits += tl.load(output_bias + v)
        if forced:
            row = found + (stream * length + step) * count
            tl.store(row + v, logits, mask=(v < count) & (stream >= 0))
        else:
            uniform = tl.load(given + stream * length + step)
            logits = tl.where(v < count, logits, -float("inf"))
            level = choose(logits, uniform, temperature, top_p, greedy, narrow)
            tl.store(found + stream * length + step, level)
        step += 1
        tl.debug_barrier()
    tl.store(newest + stream, level)
