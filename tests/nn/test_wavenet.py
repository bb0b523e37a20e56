"""The WaveNet against its definition: causal, of the stated reach, equal to plain convolutions."""

from functools import partial

import pytest
import torch
import wavenets
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from vqspeech.nn.wavenet import WaveNet

LEVELS, HOP = 16, 5


make = partial(wavenets.make, levels=LEVELS, channels=(6, 8, 10), spread=1.0)


def draw(frames: int, batch: int = 2, hop: int = HOP) -> tuple[Tensor, Tensor]:
    """Return levels (batch, frames * hop) and a condition (batch, frames, 4)."""
    return torch.randint(LEVELS, (batch, frames * hop)), torch.randn(batch, frames, 4)


def convolutional(net: WaveNet, previous: Tensor, condition: Tensor) -> Tensor:
    """Return the logits of the same weights as van den Oord et al. 2016 draw it: channels first, conv1d."""
    x = net.embedding(previous).transpose(1, 2)
    channels, (layers, _, width) = x.shape[1], net.gate_weight.shape
    half = width // 2
    repeats = previous.shape[1] // condition.shape[1]
    conditions = net.condition(condition).repeat_interleave(repeats, 1).transpose(1, 2)
    skip = net.skip.bias[:, None]
    for layer, dilation in enumerate(net.dilations):
        past, now = net.gate_weight[layer, :channels].T, net.gate_weight[layer, channels:].T
        kernel = torch.stack([past, now], -1)
        pre = F.conv1d(F.pad(x, (dilation, 0)), kernel, dilation=dilation)
        pre = pre + conditions[:, layer * width : (layer + 1) * width]
        gate = pre[:, :half].tanh() * pre[:, half:].sigmoid()
        skip = skip + F.conv1d(gate, net.skip.weight[:, layer * half : (layer + 1) * half, None])
        if layer < layers - 1:
            kernel = net.residual_weight[layer].T[:, :, None]
            x = x + F.conv1d(gate, kernel, net.residual_bias[layer])
    hidden = F.relu(F.conv1d(F.relu(skip), net.hidden.weight[:, :, None], net.hidden.bias))
    return F.conv1d(hidden, net.output.weight[:, :, None], net.output.bias).transpose(1, 2)


@given(
    dilations=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    frames=st.integers(1, 6),
    hop=st.integers(1, 6),
)
def test_equals_the_form_in_convolutions(dilations: list[int], frames: int, hop: int) -> None:
    """Logits and all gradients agree to 1e-5, for times shorter than a dilation too."""
    net = make(dilations)
    levels, condition = draw(frames, hop=hop)
    condition.requires_grad_()
    sources = [*net.parameters(), condition]
    found, gradients = [], []
    for form in (net, lambda *given: convolutional(net, *given)):
        logits = form(net.previous(levels), condition)
        loss = F.cross_entropy(logits.flatten(0, 1), levels.flatten())
        found.append(logits)
        # a net of one layer has no residual weights
        gradients.append(torch.autograd.grad(loss, sources, materialize_grads=True))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_the_gradient_written_by_hand_is_the_numerical_one() -> None:
    """Gate, condition and everything behind them pass gradcheck in float64."""
    net = make([1, 2, 3]).double()
    levels, condition = draw(3, hop=2)
    weight = net.gate_weight.detach().clone().requires_grad_()

    def logits(weight: Tensor, condition: Tensor) -> Tensor:
        return functional_call(net, {"gate_weight": weight}, (net.previous(levels), condition))

    assert torch.autograd.gradcheck(logits, (weight, condition.double().requires_grad_()))


@given(st.data(), st.booleans())
def test_changing_a_sample_changes_no_logit_before_the_next(
    data: st.DataObject, taps: bool
) -> None:
    """Logits up to and including time t are the same bits whatever the level at t; those at t + 1 are not.

    With pitch taps for the shortest lag too.
    """
    net = make([1, 2, 4, 8], taps=taps)
    levels, condition = draw(6)
    lags = data.draw(st.lists(st.integers(0, 12), min_size=6, max_size=6))
    lag = torch.tensor([lags] * 2) if taps else None
    time = data.draw(st.integers(0, levels.shape[1] - 1))
    changed = levels.clone()
    changed[:, time:] = (changed[:, time:] + 1) % LEVELS
    one, other = (net(net.previous(x), condition, lag=lag) for x in (levels, changed))
    assert torch.equal(one[:, : time + 1], other[:, : time + 1])
    if time + 1 < levels.shape[1]:
        assert not torch.equal(one[:, time + 1], other[:, time + 1])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_receptive_field_is_that_of_the_gradient(dilations: list[int]) -> None:
    """A logit has a gradient from the newest level it sees and from the oldest in the field, and from none older."""
    net = make(dilations).double()
    time = net.receptive_field + 5
    previous = torch.randint(LEVELS, (1, time + 5))
    embedded: list[Tensor] = []
    net.embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    logits = net(previous, torch.randn(1, 1, 4).double())
    (grad,) = torch.autograd.grad(logits[0, time].square().sum(), embedded)
    seen = torch.nonzero(grad[0].abs().sum(1))[:, 0]
    assert seen.min() == time - net.receptive_field + 1
    assert seen.max() == time
    assert net.receptive_field == 1 + sum(dilations)


def test_a_condition_reaches_its_own_frame_and_what_follows_within_the_field() -> None:
    """Frame f moves the samples of frame f and then as many as all layers but the first look back."""
    net = make([4, 1, 2]).double()
    frames, frame = 6, 2
    levels, condition = draw(frames, batch=1)
    condition = condition.double().requires_grad_()
    logits = net(net.previous(levels), condition)
    moved = [
        time
        for time in range(frames * HOP)
        if torch.autograd.grad(logits[0, time].square().sum(), condition, retain_graph=True)[0][
            0, frame
        ].any()
    ]
    assert moved == list(range(frame * HOP, (frame + 1) * HOP + 1 + 2))


def test_previous_shifts_by_one_and_starts_with_silence() -> None:
    """The level before the first is the one that stands for zero."""
    net = make([1])
    assert net.previous(torch.tensor([[3, 1, 2]])).tolist() == [[LEVELS // 2, 3, 1]]


@pytest.mark.parametrize("frames", [3, 4])
def test_a_time_that_is_no_multiple_of_the_frames(frames: int) -> None:
    """A condition that cannot be spread evenly over the samples is refused."""
    with pytest.raises(RuntimeError):
        make([1, 2])(torch.zeros(1, 10, dtype=torch.int64), torch.zeros(1, frames, 4))


def test_streams_of_a_batch_do_not_mix() -> None:
    """Each item's logits are those it has alone."""
    net = make([1, 2, 4])
    levels, condition = draw(4, batch=3)
    together = net(net.previous(levels), condition)
    for item in range(3):
        alone = net(net.previous(levels[item : item + 1]), condition[item : item + 1])
        torch.testing.assert_close(together[item : item + 1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("places", [slice(2, None, 4), slice(5, 9), slice(-1, None)])
def test_some_logits_are_those_of_all(places: slice) -> None:
    """What is kept is what the whole pass gives at the same places, gradients included."""
    net = make([1, 2, 4])
    levels, condition = draw(4)
    previous = net.previous(levels)
    kept = torch.arange(previous.shape[1])[places]
    whole = net(previous, condition)[:, kept]
    part = net(previous, condition, kept)
    assert torch.allclose(part, whole, atol=1e-6)
    for logits in (whole, part):
        logits.square().sum().backward()
    grad = net.gate_weight.grad
    assert grad is not None
    again = make([1, 2, 4])
    again(previous, condition)[:, kept].square().sum().backward()
    assert again.gate_weight.grad is not None
    assert torch.allclose(grad, 2 * again.gate_weight.grad, atol=1e-4)


def embedded(net: WaveNet, levels: list[int], lags: list[int]) -> Tensor:
    """The first x of one item by its definition: level and lag of each sample, one at a time."""
    assert net.taps is not None
    hop = len(levels) // len(lags)
    rows = []
    for t in range(len(levels)):
        lag = lags[t // hop]
        x = net.embedding.weight[levels[t - 1] if t else net.silence]
        for tap in range(3):
            s = t - lag + tap - 1
            x = x + net.taps[tap, levels[s] if lag >= 2 and s >= 0 else LEVELS]
        rows.append(x)
    return torch.stack(rows)


@given(lags=st.lists(st.integers(0, 40), min_size=1, max_size=7), hop=st.integers(1, 6))
def test_pitch_taps_are_the_levels_around_one_period_ago(lags: list[int], hop: int) -> None:
    """Of every frame's lag, unvoiced or longer than the past too; a lag of 1, which is too short, counts as none."""
    net = make([1, 2], taps=True)
    levels = torch.randint(LEVELS, (2, len(lags) * hop))
    lag = torch.tensor([lags, lags[::-1]])
    found = net.embed(net.previous(levels), lag)
    for row, item, its in zip(found, levels.tolist(), lag.tolist(), strict=True):
        torch.testing.assert_close(row, embedded(net, item, its), rtol=1e-6, atol=1e-6)


def test_taps_that_have_not_learned_change_no_bit() -> None:
    """With the weights of a net without them, whatever the lag, logits are that net's own."""
    plain, tapped = make([1, 2, 4]), WaveNet(LEVELS, [1, 2, 4], 6, 8, 10, 4, pitch_taps=True)
    missing, unexpected = tapped.load_state_dict(plain.state_dict(), strict=False)
    assert (missing, unexpected) == (["taps"], [])
    levels, condition = draw(4)
    lag = torch.tensor([[0, 3, 7, 2]] * 2)
    logits = tapped(tapped.previous(levels), condition, lag=lag)
    assert torch.equal(logits, plain(plain.previous(levels), condition))
    logits.square().sum().backward()
    assert tapped.taps is not None
    assert tapped.taps.grad is not None
    assert tapped.taps.grad[:, :LEVELS].abs().sum() > 0
    assert "taps" not in plain.state_dict()


@pytest.mark.parametrize("hop", [1, 3, HOP])
def test_windows_are_the_whole_pass_with_taps_too(hop: int) -> None:
    """Windows overlap by receptive field and longest lag: joined, their logits are those of one pass."""
    net = make([1, 2, 4], taps=True)
    levels, condition = draw(20, hop=hop)
    lag = torch.randint(0, 30, (2, 20))
    previous = net.previous(levels)
    joined = torch.cat(list(net.windows(previous, condition, hop, 2 * hop, lag)), 1)
    torch.testing.assert_close(joined, net(previous, condition, lag=lag), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("taps", [False, True])
def test_a_lag_goes_with_taps_and_with_nothing_else(taps: bool) -> None:
    """Taps without a lag, or a lag without taps, is an error and not a guess."""
    net = make([1], taps=taps)
    levels, condition = draw(1)
    lag = None if taps else torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(ValueError, match="lag"):
        net(net.previous(levels), condition, lag=lag)
