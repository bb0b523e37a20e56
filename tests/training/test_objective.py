"""The loss of a batch against the exact likelihood, its masks, and what it leaves without a gradient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import ModelConfig
from vqspeech.nn.bottleneck import BottleneckOutput, Draws
from vqspeech.nn.cepstral import CepstralHead
from vqspeech.nn.spectral import SpectralHead
from vqspeech.nn.vimco import multi_sample
from vqspeech.training.data.segments import Batch
from vqspeech.training.objective import Objective
from vqspeech.training.perturb import Perturbation

HOP, FRAMES = 16, 12
SAMPLES = HOP * FRAMES

Make = Callable[..., Objective]
VIMCO = {"kind": "vimco", "codebook_size": 16, "draws": 3}


class Drawn(torch.nn.Module):
    """A bottleneck whose draws are given."""

    def __init__(self, draws: Draws) -> None:
        super().__init__()
        self.draws = draws

    def forward(self, z_e: Tensor) -> BottleneckOutput:
        z_q = self.draws.z[0]
        return BottleneckOutput(z_e, z_q, None, z_e.new_zeros(()), z_e.new_ones(()), self.draws)


@pytest.fixture
def make(tiny_config: ModelConfig) -> Make:
    """Return a function that makes an objective with random weights, always the same."""

    def build(
        jitter: float = 0.0,
        weight: float = 0.0,
        channels: int = 0,
        scored_every: int = 1,
        bottleneck: dict[str, Any] | None = None,
        kept_channels: int = 0,
    ) -> Objective:
        torch.manual_seed(3)
        decoder = {**tiny_config.decoder, "spectral_channels": kept_channels}
        config = replace(
            tiny_config, bottleneck=bottleneck or tiny_config.bottleneck, decoder=decoder
        )
        model = Autoencoder(config, ["ann", "bob"])
        size = (8, model.decoder.condition_hop, model.sample_rate)
        head = SpectralHead(*size, channels=channels) if channels else model.decoder.spectral
        return Objective(model, jitter, weight, head, scored_every=scored_every)

    return build


def _batch(valid: list[int], crop: list[int] | None = None) -> Batch:
    draw = torch.Generator().manual_seed(5)
    pcm = torch.randint(-20000, 20000, (len(valid), SAMPLES), generator=draw).to(torch.int16)
    for row, length in enumerate(valid):
        pcm[row, length:] = 0
    return Batch(
        pcm,
        torch.arange(len(valid)) % 2,
        torch.tensor(valid),
        torch.tensor(crop or [0] * len(valid)),
        torch.zeros(len(valid), 0),
    )


def _exact(model: Autoencoder, batch: Batch) -> torch.Tensor:
    """Sum of the exact likelihood over all valid samples, by their number."""
    losses = []
    for pcm, speaker, valid in zip(batch.pcm, batch.speaker, batch.valid, strict=True):
        wav = pcm.float() / 32768
        levels = mulaw_encode(wav, model.config.levels)
        nll = model.nll(levels, model.encode(wav), model.speakers[int(speaker)])
        losses.append(nll[:valid])
    return torch.cat(losses).mean()


@pytest.mark.parametrize("valid", [[SAMPLES, SAMPLES, SAMPLES], [SAMPLES, 77, 1]])
def test_nll_of_whole_segments_is_the_exact_likelihood(make: Make, valid: list[int]) -> None:
    """Without crop and jitter training minimises what evaluation reports: the mean over samples up to `valid`."""
    objective = make()
    batch = _batch(valid)
    nll = objective(batch, SAMPLES).nll
    assert float(nll) == pytest.approx(float(_exact(objective.model, batch)), abs=1e-5)


def test_padding_has_no_part_in_the_gradient_of_the_wavenet(make: Make) -> None:
    """Other samples after the end of a recording change what the encoder reads at most, not the targets."""
    objective = make()
    batch = _batch([100])
    louder = batch.pcm.clone()
    # past the end of the frame in which the recording ends, and of all that the encoder reads for it
    louder[0, 176:] = 9000
    assert objective.model.encoder.context[1] <= 176 - 112
    quiet, loud = (objective(b, SAMPLES).nll for b in (batch, batch._replace(pcm=louder)))
    assert float(quiet) == float(loud)


def test_crop_sees_its_own_samples_frames_and_speaker(make: Make) -> None:
    """A crop at frame 4 gives the likelihood of samples from 64 on, as a recording cut there would have it."""
    objective = make()
    model, batch = objective.model, _batch([SAMPLES], [4])
    nll = objective(batch, 4 * HOP).nll

    wav = batch.pcm[0].float() / 32768
    levels = mulaw_encode(wav, model.config.levels)
    z_q = model.bottleneck.dequantize(model.encode(wav)[None])
    parts = HOP // model.decoder.condition_hop
    condition = model.decoder.conditioner(z_q, batch.speaker)[:, 4 * parts : 8 * parts]
    logits = model.decoder.wavenet(levels[None, 63:127], condition)
    expected = torch.nn.functional.cross_entropy(logits[0].detach(), levels[64:128])
    assert float(nll) == pytest.approx(float(expected), abs=1e-5)


def test_warm_start_leaves_the_wavenet_without_gradient(make: Make) -> None:
    """Without a crop encoder, conditioner and head learn, and the WaveNet has no gradient at all, not one of zeros."""
    objective = make(weight=0.0, channels=8)
    losses = objective(_batch([SAMPLES, 50]), 0)
    losses.total.backward()
    assert float(losses.nll) == 0
    assert float(losses.spectral) > 0
    assert all(p.grad is None for p in objective.model.decoder.wavenet.parameters())
    assert all(p.grad.abs().sum() > 0 for p in objective.model.decoder.conditioner.parameters())
    assert all(p.grad.abs().sum() > 0 for p in objective.model.encoder.parameters())
    assert all(p.grad is not None for p in objective.head.parameters())


def test_cepstra_teach_the_codes_and_the_spectrum_the_conditioner(make: Make) -> None:
    """With a cepstral head the spectral loss stops at the conditioner; with codes that stay there is nothing else."""
    objective = make(channels=8)
    model, batch = objective.model, _batch([SAMPLES])
    objective.cepstral = CepstralHead(model.config.dim, 2, HOP, 16000, channels=8)
    losses = objective(batch, 0)
    wav, mask = batch.pcm.float() / 32768, torch.ones(1, FRAMES, dtype=torch.bool)
    z_q = model.bottleneck(model.encoder(wav)).z_q
    cepstral = objective.cepstral(z_q, batch.speaker, wav, mask)
    predicted = objective.head(model.decoder.conditioner(z_q, batch.speaker))
    spectral = objective.spectral_loss(predicted, wav, mask)
    assert float(losses.spectral) == pytest.approx(float((cepstral + spectral).detach()), rel=1e-5)
    encoder = [*model.encoder.parameters()]
    alone = torch.autograd.grad(cepstral, encoder, retain_graph=True)
    together = torch.autograd.grad(losses.total - losses.output.loss, encoder)
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found, expected)

    kept = objective(batch, 0, codes_learn=False)
    assert float(kept.total.detach()) == pytest.approx(float(spectral.detach()), rel=1e-5)
    kept.total.backward()
    learning = {n for n, p in objective.named_parameters() if p.grad is not None}
    assert learning
    assert all(name.startswith(("head.", "model.decoder.conditioner.")) for name in learning)


def test_warm_start_weighs_the_spectral_loss_fully(make: Make) -> None:
    """The weight is for the loss beside the WaveNet's; alone the spectral loss counts once."""
    objective = make(weight=0.25, channels=8)
    batch = _batch([SAMPLES])
    with torch.no_grad():
        warm, joint = objective(batch, 0), objective(batch, SAMPLES)
    assert float(warm.total) == pytest.approx(float(warm.spectral + warm.output.loss))
    expected = joint.nll + 0.25 * joint.spectral + joint.output.loss
    assert float(joint.total) == pytest.approx(float(expected))


@pytest.mark.parametrize("codes_learn", [True, False])
def test_a_head_that_the_decoder_keeps_learns_beside_the_wavenet(
    make: Make, codes_learn: bool
) -> None:
    """Its weights are the decoder's alone, and its loss counts with its weight, whether codes learn or not."""
    objective = make(weight=0.25, kept_channels=8)
    assert objective.head is None
    assert all(name.startswith("model.") for name in objective.state_dict())
    losses = objective(_batch([SAMPLES]), SAMPLES, codes_learn)
    bottleneck = losses.output.loss if codes_learn else 0.0
    expected = losses.nll + 0.25 * losses.spectral + bottleneck
    assert float(losses.spectral) > 0
    assert float(losses.total.detach()) == pytest.approx(float(expected.detach()))
    losses.total.backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.model.decoder.spectral.parameters())


def test_no_head_without_channels(make: Make) -> None:
    """The paper's own objective has no spectral head among its weights and no such loss."""
    objective = make()
    assert objective.head is None
    assert all(name.startswith("model.") for name in objective.state_dict())
    with torch.no_grad():
        losses = objective(_batch([SAMPLES]), SAMPLES)
    assert float(losses.spectral) == 0
    assert float(losses.total) == pytest.approx(float(losses.nll + losses.output.loss))


def test_spectral_loss_stops_where_the_recording_does(make: Make) -> None:
    """What the head predicts for frames after the end costs nothing."""
    objective = make(weight=1.0, channels=8)
    batch = _batch([5 * HOP])
    wav = batch.pcm.float() / 32768
    z_q = objective.model.bottleneck(objective.model.encoder(wav)).z_q
    starts = torch.arange(FRAMES) * HOP < 5 * HOP
    predicted = objective.head(objective.model.decoder.conditioner(z_q, batch.speaker))
    expected = objective.spectral_loss(predicted, wav, starts[None]).detach()
    everywhere = objective.spectral_loss(predicted, wav, torch.ones_like(starts)[None]).detach()
    spectral = objective(batch, 0).spectral
    assert float(spectral) == float(expected)
    assert float(spectral) != float(everywhere)


def test_jitter_follows_the_seed_and_reaches_the_loss(make: Make) -> None:
    """The same seed draws the same frames; another seed, or no jitter, gives another loss."""
    objective, calm = make(jitter=0.5), make()
    batch = _batch([SAMPLES, SAMPLES])
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(float(objective(batch, SAMPLES).nll))
    assert seen[0] == seen[1] != seen[2]
    assert float(calm(batch, SAMPLES).nll) not in seen


def test_gradient_passes_straight_through_to_the_encoder(make: Make) -> None:
    """The likelihood alone, without the commitment term, moves the encoder."""
    objective = make()
    losses = objective(_batch([SAMPLES]), SAMPLES)
    (losses.total - losses.output.loss).backward()
    assert all(p.grad.abs().sum() > 0 for p in objective.model.encoder.parameters())


def test_some_of_the_samples_stand_for_all(make: Make) -> None:
    """One sample in four, from a random first one: over many draws the mean is the whole likelihood."""
    whole, part = make(), make(scored_every=4)
    batch = _batch([SAMPLES, SAMPLES, SAMPLES - 40])
    torch.manual_seed(0)
    found = [float(part(batch, SAMPLES).nll) for _ in range(60)]
    assert len({round(nll, 5) for nll in found}) == 4
    assert sum(found) / 60 == pytest.approx(float(whole(batch, SAMPLES).nll), abs=0.02)
    assert min(found) < float(whole(batch, SAMPLES).nll) < max(found)


def test_noise_on_the_past_is_in_half_of_the_crops_and_not_in_what_is_predicted(make: Make) -> None:
    """Half of the rows are as recorded, the others differ by a few levels; nothing leaves the range of levels."""
    objective = make()
    objective.input_noise = 4.0
    torch.manual_seed(0)
    past = torch.randint(256, (400, 500))
    noisy = objective._with_noise(past)
    off = (noisy - past).float()
    clean = (off == 0).all(1)
    assert 0.4 < float(clean.float().mean()) < 0.6
    inside = (past > 20) & (past < 235)
    deviations = torch.stack(
        [row[keep].std() for row, keep in zip(off[~clean], inside[~clean], strict=True)]
    )
    assert 1.8 < float(deviations.mean()) < 2.2
    assert float(deviations.max()) < 4.5
    assert noisy.min() == 0
    assert noisy.max() == 255
    batch = _batch([SAMPLES] * 4)
    objective.input_noise = 1e-3
    assert float(objective(batch, SAMPLES).nll) == float(make()(batch, SAMPLES).nll)


def test_codes_that_do_not_learn_get_no_gradient_and_no_perturbation(make: Make) -> None:
    """Only decoder and spectral head have a gradient, and what the encoder hears is the recording."""
    objective = make(weight=0.5, channels=8)
    objective.perturbation = Perturbation(16000, 1.0, 4.0, 15.0, 6.0, 6.0, 15.0)
    batch = _batch([SAMPLES, SAMPLES])
    losses = objective(batch, SAMPLES, codes_learn=False)
    losses.total.backward()
    learning = {n for n, p in objective.named_parameters() if p.grad is not None}
    assert learning
    assert all(name.startswith(("head.", "model.decoder.")) for name in learning)
    codes = objective.model.encode(batch.pcm.float() / 32768)
    assert torch.equal(losses.output.codes, codes)


@pytest.mark.parametrize("kind", ["gaussian", "gumbel"])
def test_the_divergence_of_a_frame_is_shared_out_over_its_samples(make: Make, kind: str) -> None:
    """Nats a frame over the hop are nats a sample: the loss is the bound, in the warm start as well."""
    size = {"codebook_size": 16} if kind == "gumbel" else {}
    objective = make(weight=0.25, channels=8, bottleneck={"kind": kind, **size})
    batch = _batch([SAMPLES])
    with torch.no_grad():
        warm, joint = objective(batch, 0), objective(batch, SAMPLES)
    assert float(joint.output.kl) > 0
    expected = joint.nll + 0.25 * joint.spectral + joint.output.kl / HOP
    assert float(joint.total) == pytest.approx(float(expected))
    assert float(warm.total) == pytest.approx(float(warm.spectral + warm.output.kl / HOP))


def test_the_bound_of_draws_is_of_their_exact_likelihoods(make: Make) -> None:
    """Of whole recordings: the log of the mean of p(x, z) / q(z), summed over recordings, by their samples."""
    objective = make(bottleneck=VIMCO)
    model, batch = objective.model, _batch([SAMPLES, 77])
    wav = batch.pcm.float() / 32768
    torch.manual_seed(8)
    with torch.no_grad():
        draws = model.bottleneck(model.encoder(wav)).draws
        torch.manual_seed(8)
        losses = objective(batch, SAMPLES)
    levels = mulaw_encode(wav, model.config.levels)
    nll = torch.tensor(
        [
            [float(model.nll(levels[i], z[i], model.speakers[i])[:valid].sum()) for z in draws.z]
            for i, valid in enumerate([SAMPLES, 77])
        ]
    ).T
    # 77 samples last into frame 4, and a condition sees one frame further
    ratio = torch.stack([draws.log_ratio[:, 0].sum(1), draws.log_ratio[:, 1, : 5 + 1].sum(1)], 1)
    bound = multi_sample(-nll, ratio).bound
    assert float(losses.total) == pytest.approx(-float(bound.sum()) / (SAMPLES + 77), rel=1e-5)
    assert float(losses.nll) == pytest.approx(float(nll.mean(0).sum()) / (SAMPLES + 77), rel=1e-5)


@pytest.mark.parametrize(
    ("jitter", "valid", "first", "last"),
    [(0.0, SAMPLES, 3, 8), (0.5, SAMPLES, 2, 9), (0.0, 5 * HOP + 1, 3, 6)],
)
def test_only_latents_that_the_crop_hangs_on_are_weighed(
    make: Make, jitter: float, valid: int, first: int, last: int
) -> None:
    """Frames 4 to 7, those their conditions see, one more under jitter, and none past the end of the recording."""
    torch.manual_seed(0)
    ratio = torch.randn(3, 1, FRAMES, requires_grad=True)
    objective = make(jitter=jitter)
    objective.model.bottleneck = Drawn(Draws(torch.randn(3, 1, 8, FRAMES), ratio))
    objective(_batch([valid], [4]), 4 * HOP).total.backward()
    weighed = torch.nonzero(ratio.grad.abs().sum((0, 1)))[:, 0].tolist()
    assert weighed == [*range(first, last + 1)]


@pytest.mark.parametrize("scored_every", [1, 4])
def test_draws_that_are_alike_cost_what_one_does(make: Make, scored_every: int) -> None:
    """Likelihood and log ratio of one draw, in nats a sample: all of a recording share a jitter and a noisy past."""
    torch.manual_seed(0)
    z, ratio = torch.randn(1, 2, 8, FRAMES), torch.rand(1, 2, FRAMES)
    objective = make(jitter=0.5, scored_every=scored_every)
    objective.input_noise = 40.0
    objective.model.bottleneck = Drawn(Draws(z.expand(3, -1, -1, -1), ratio.expand(3, -1, -1)))
    with torch.no_grad():
        losses = objective(_batch([SAMPLES, SAMPLES]), SAMPLES)
    expected = float(losses.nll) + float(ratio.sum()) / (2 * SAMPLES)
    assert float(losses.total) == pytest.approx(expected, rel=1e-5)


def test_draws_leave_the_head_its_straight_gradient(make: Make) -> None:
    """The warm start, which knows no draws, teaches the encoder; in joint training the score does."""
    objective = make(weight=0.25, channels=8, bottleneck=VIMCO)
    batch = _batch([SAMPLES])
    for crop, parts in ((0, ("spectral",)), (SAMPLES, ("spectral", "score"))):
        for part in parts:
            objective.zero_grad()
            objective.spectral_weight = 0.25 if part == "spectral" else 0.0
            losses = objective(batch, crop)
            losses.total.backward()
            assert all(p.grad.abs().sum() > 0 for p in objective.model.encoder.parameters())
    assert objective.model.bottleneck.posterior.codebook.grad.abs().sum() > 0
