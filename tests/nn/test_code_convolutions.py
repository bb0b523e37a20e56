"""The network of the prior: causal, the same in one pass, in parts and step by step."""

import pytest
import torch
from torch import Tensor, nn

from vqspeech.nn.code_convolutions import CodeConvolutions, Past

CODES, SPEAKERS, FRAMES = 11, 3, 40
TOLERANCE = 1e-5
"""Of logits whose spread is 1: sums of some dozen float32 products in another order."""


@pytest.fixture(scope="module")
def network() -> CodeConvolutions:
    """Return a network whose layers all do something."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = CodeConvolutions(CODES, SPEAKERS, width=8, dilations=[1, 2, 4, 1]).eval()
        for layer in made.layers:
            nn.init.normal_(layer.output.weight, std=0.5)
        nn.init.normal_(made.speaker.weight)
    return made


@pytest.fixture(scope="module")
def previous() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(CODES + 1, (2, FRAMES), generator=generator)


SPEAKER = torch.tensor([0, 2])


@torch.inference_mode()
def in_parts(network: CodeConvolutions, previous: Tensor, lengths: list[int]) -> Tensor:
    logits, past = [], ()
    for part in previous.split(lengths, 1):
        predicted = network(part, SPEAKER, past)
        logits.append(predicted.logits)
        past: Past = predicted.past
    return torch.cat(logits, 1)


@pytest.mark.parametrize("lengths", [[1] * FRAMES, [3, 1, 20, 16], [39, 1]])
def test_parts_give_what_one_pass_gives(
    network: CodeConvolutions, previous: Tensor, lengths: list[int]
) -> None:
    """Whatever the parts, single steps among them, the logits are those of one pass."""
    whole = network(previous, SPEAKER).logits
    torch.testing.assert_close(in_parts(network, previous, lengths), whole, rtol=0, atol=TOLERANCE)


def test_what_is_handed_on_does_not_grow(network: CodeConvolutions, previous: Tensor) -> None:
    """A layer keeps as many frames as its dilation, however many there were."""
    for frames in (1, 5, FRAMES):
        past = network(previous[:, :frames], SPEAKER).past
        assert [p.shape for p in past] == [(2, d, 8) for d in (1, 2, 4, 1)]


def test_no_code_is_known_before_its_time(network: CodeConvolutions, previous: Tensor) -> None:
    """Changing the code before frame t changes no logit before t, those of t, and none beyond the receptive field."""
    assert network.receptive_field == 9
    changed = previous.clone()
    changed[:, 20] = (changed[:, 20] + 1) % CODES
    moved = (network(changed, SPEAKER).logits != network(previous, SPEAKER).logits).any(2).any(0)
    assert not moved[:20].any()
    assert moved[20]
    assert moved[28]
    assert not moved[29:].any()


def test_speakers_and_the_start_make_a_difference(
    network: CodeConvolutions, previous: Tensor
) -> None:
    """Another speaker gives other logits everywhere; so does a start in place of a code where it stands."""
    one, other = (network(previous[:1], torch.tensor([s])).logits for s in (0, 1))
    assert (one != other).any(2).all()
    code, start = (network(torch.tensor([[c]]), SPEAKER[:1]).logits for c in (0, network.start))
    assert (code != start).all()


def test_dropout_is_for_training(previous: Tensor) -> None:
    """In evaluation nothing is left out; in training something is, of the codes too while the layers do nothing."""
    torch.manual_seed(0)
    network = CodeConvolutions(CODES, SPEAKERS, width=8, dilations=[1], dropout=0.5)
    logits = [network(previous, SPEAKER).logits for _ in range(2)]
    assert not torch.equal(*logits)
    network.eval()
    logits = [network(previous, SPEAKER).logits for _ in range(2)]
    assert torch.equal(*logits)


@pytest.mark.parametrize("dilations", [[], [0], [1, -1], [10**9]])
def test_dilations_that_mean_nothing(dilations: list[int]) -> None:
    """None, none above 0, or longer than a cache should be."""
    with pytest.raises(ValueError, match="dilations"):
        CodeConvolutions(CODES, SPEAKERS, width=8, dilations=dilations)
