"""The training loss of a batch, in nats per sample: likelihood, bottleneck terms, optional spectral head.

With a bottleneck that has a posterior the loss is the negative ELBO: the divergence of a frame, in nats, is divided
over the samples of its hop. With several draws, the bound is taken of each recording's crop as a whole, from its
likelihood and from all latents that this depends on, and divided by the samples of the crop.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.nn.bottleneck import BottleneckOutput, Draws
from vqspeech.nn.cepstral import CepstralHead
from vqspeech.nn.jitter import jitter
from vqspeech.nn.spectral import SpectralHead, SpectralLoss, masked_mean
from vqspeech.nn.vimco import multi_sample
from vqspeech.training.contour import WEIGHT, degraded, pitch_loss
from vqspeech.training.data.segments import Batch, CodedBatch
from vqspeech.training.perturb import Perturbation


class Losses(NamedTuple):
    """Scalars of a batch and the bottleneck's output.

    Attributes
    ----------
    total : Tensor
        The loss to minimise.
    nll : Tensor
        Nats per sample, the mean over draws; 0 without the WaveNet.
    spectral : Tensor
        Error of the spectral head, plus that of a cepstral head; 0 without one.
    output : BottleneckOutput or None
        For the update of the bottleneck; None where codes were given.
    pitch : Tensor
        Error of the head that predicts the pitch contour, and nats per frame of the distribution of contours; 0 for a
        decoder without pitch.
    """

    total: Tensor
    nll: Tensor
    spectral: Tensor
    output: BottleneckOutput | None
    pitch: Tensor


class Objective(nn.Module):
    """Model and spectral heads under one loss.

    Parameters
    ----------
    model : Autoencoder
        The model to train.
    jitter_probability : float
        Probability that a latent is replaced by a neighbour while codes learn.
    spectral_weight : float
        Weight of the spectral loss beside the likelihood; 1 in the warm start, without likelihood.
    head : SpectralHead, optional
        Head of the spectral loss, which trains the conditioner too: the decoder's own, or one for training only.
    cepstral : CepstralHead, optional
        Head that codes learn from instead; the loss of `head` then stops at the conditioner.
    scored_every : int
        The likelihood is taken of one sample in so many.
    input_noise : float
        Largest standard deviation, in levels, of the noise on the teacher-forced inputs in half of the crops; each such
        crop draws its own. The targets stay clean.
    perturbation : Perturbation, optional
        Applied to the encoder's input, not to the targets.
    """

    def __init__(
        self,
        model: Autoencoder,
        jitter_probability: float,
        spectral_weight: float,
        head: SpectralHead | None = None,
        cepstral: CepstralHead | None = None,
        scored_every: int = 1,
        input_noise: float = 0.0,
        perturbation: Perturbation | None = None,
    ) -> None:
        super().__init__()
        self.scored_every = scored_every
        self.input_noise = input_noise
        self.perturbation = perturbation
        self.model = model
        self.jitter_probability = jitter_probability
        self.spectral_weight = spectral_weight
        own = model.decoder.spectral
        # the decoder's own head is among its weights already
        self.head = None if head is own else head
        self.spectral_loss = None if head is None else SpectralLoss(head.log_mel())
        self.cepstral = cepstral

    def forward(self, batch: Batch | CodedBatch, crop: int, codes_learn: bool = True) -> Losses:
        """Loss of a batch.

        Parameters
        ----------
        batch : Batch or CodedBatch
            Segments; where their codes are given no encoder runs.
        crop : int
            Samples per segment that the WaveNet learns from; 0 leaves it out.
        codes_learn : bool
            Whether encoder and codebook get a gradient. If not, nothing is perturbed or jittered either.
        """
        if isinstance(batch, CodedBatch):
            wav = mulaw_decode(batch.levels, self.model.config.levels)
            z_q = self.model.quantizer.dequantize(batch.codes) * self._mask(batch)[:, None]
            return self._decoder_alone(wav, batch.levels.long(), z_q, batch, crop, None)
        wav = batch.pcm.float() / 32768
        levels = mulaw_encode(wav, self.model.config.levels)
        if not codes_learn:
            with torch.no_grad():
                output = self.model.bottleneck(self.model.encoder(wav))
            return self._decoder_alone(wav, levels, output.z_q, batch, crop, output)
        conditioner = self.model.decoder.conditioner
        weight = self.spectral_weight if crop else 1.0
        perturbed = wav if self.perturbation is None else self.perturbation(wav)
        output = self.model.bottleneck(self.model.encoder(perturbed))
        z_q = jitter(output.z_q, self.jitter_probability)
        nll = cost = wav.new_zeros(())
        if crop and output.draws is not None:
            nll, cost = self._bound(levels, output.draws, batch, crop)
        elif crop:
            condition = conditioner(z_q, batch.speaker)
            nll = cost = _mean(*self._nll(levels, condition, batch, crop))
        spectral = pitch = wav.new_zeros(())
        if weight or self.model.decoder.pitch is not None:
            # where codes learn from cepstra, spectrum and pitch train only what comes after the codes
            latents = z_q if self.cepstral is None else z_q.detach()
            condition = conditioner(latents, batch.speaker)
            pitch = self._pitch(latents, condition, batch)
        if weight:
            spectral = self._spectral(wav, latents, condition, batch)
            if self.cepstral is not None:
                spectral = spectral + self.cepstral(z_q, batch.speaker, wav, self._mask(batch))
        total = cost + weight * spectral + (WEIGHT if crop else 1.0) * pitch + output.loss
        if output.kl is not None and (output.draws is None or not crop):
            total = total + output.kl / self.model.hop
        return Losses(total, nll.detach(), spectral.detach(), output, pitch.detach())

    def _decoder_alone(
        self,
        wav: Tensor,
        levels: Tensor,
        z_q: Tensor,
        batch: Batch | CodedBatch,
        crop: int,
        output: BottleneckOutput | None,
    ) -> Losses:
        """Loss of a batch whose latents stay as they are."""
        condition = self.model.decoder.conditioner(z_q, batch.speaker)
        weight = self.spectral_weight if crop else 1.0
        nll = spectral = wav.new_zeros(())
        if crop:
            nll = _mean(*self._nll(levels, condition, batch, crop))
        if weight:
            spectral = self._spectral(wav, z_q, condition, batch)
        pitch = self._pitch(z_q, condition, batch)
        total = nll + weight * spectral + (WEIGHT if crop else 1.0) * pitch
        return Losses(total, nll.detach(), spectral.detach(), output, pitch.detach())

    def _spectral(
        self, wav: Tensor, z_q: Tensor, condition: Tensor, batch: Batch | CodedBatch
    ) -> Tensor:
        """Error of the predicted spectrum; 0 without a head."""
        if self.spectral_loss is None:
            return wav.new_zeros(())
        if self.head is not None:
            predicted = self.head(condition)
        else:
            decoder = self.model.decoder
            # draws of the contour's errors: none where they are not needed
            own = decoder.spectral_conditioner is not None
            contour = self._contour(condition, batch) if own else None
            predicted = decoder.spectrum(z_q, batch.speaker, condition, contour)
        return self.spectral_loss(predicted, wav, self._mask(batch))

    def _pitch(self, z_q: Tensor, condition: Tensor, batch: Batch | CodedBatch) -> Tensor:
        """Error of the contour that the decoder predicts, and of its distribution; 0 where neither learns."""
        decoder, error = self.model.decoder, condition.new_zeros(())
        if decoder.pitch is not None and decoder.pitch.output.weight.requires_grad:
            found = decoder.pitch.predict(condition)
            error = pitch_loss(
                decoder.pitch, found, batch.contour, batch.speaker, self._mask(batch)
            )
        if decoder.contours is not None and decoder.contours.output.weight.requires_grad:
            coded = decoder.contour_nll(z_q, batch.speaker, batch.contour)
            assert coded is not None
            error = error + masked_mean(coded[0], self._mask(batch))
        return error

    @torch.no_grad()
    def _contour(self, condition: Tensor, batch: Batch | CodedBatch) -> Tensor | None:
        """Contour of each row of `condition`, degraded for training; None without pitch."""
        pitch = self.model.decoder.pitch
        if pitch is None:
            return None
        draws = len(condition) // len(batch.contour)
        predicted = pitch.contour(pitch.predict(condition), batch.speaker.repeat(draws))
        return degraded(batch.contour.repeat(draws, 1), predicted)

    def _mask(self, batch: Batch | CodedBatch) -> Tensor:
        """Frames inside the recording: bool, (batch, frames)."""
        starts = torch.arange(0, batch[0].shape[1], self.model.hop, device=batch[0].device)
        return starts < batch.valid[:, None]

    def _bound(
        self, levels: Tensor, draws: Draws, batch: Batch, crop: int
    ) -> tuple[Tensor, Tensor]:
        """Mean likelihood of several draws, and the multi-sample loss, both in nats per sample."""
        count, hop = len(draws.z), self.model.hop
        # one jitter for all draws of a recording, so that they differ only by the draw
        side_by_side = draws.z.transpose(0, 1).flatten(1, 2)
        z = jitter(side_by_side, self.jitter_probability).unflatten(1, (count, -1)).transpose(0, 1)
        condition = self.model.decoder.conditioner(z.flatten(0, 1), batch.speaker.repeat(count))
        losses, inside = self._nll(levels, condition, batch, crop)

        # a scored sample stands for its neighbours that are left out
        samples = inside[: len(levels)].sum() * self.scored_every
        whole = (losses * inside).sum(1).view(count, -1) * self.scored_every
        reach = len(self.model.decoder.conditioner.context) + (self.jitter_probability > 0)
        frames = torch.arange(z.shape[-1], device=levels.device)
        recorded = -(batch.valid // -hop)
        last = torch.minimum(batch.crop + crop // hop, recorded)
        in_reach = frames >= batch.crop[:, None] - reach
        in_reach = in_reach & (frames < last[:, None] + reach)
        bound = multi_sample(-whole, (draws.log_ratio * in_reach).sum(2))
        return _mean(losses, inside), bound.loss.sum() / samples

    def _nll(
        self, levels: Tensor, condition: Tensor, batch: Batch | CodedBatch, crop: int
    ) -> tuple[Tensor, Tensor]:
        """-log p of the samples of each crop, (rows, samples), and 1 for those inside the recording, else 0."""
        # one row per recording and draw; all draws of a recording share the teacher-forced inputs
        decoder, hop = self.model.decoder, self.model.hop
        draws = len(condition) // len(levels)
        valid, begin = batch.valid.repeat(draws), batch.crop.repeat(draws)
        parts = hop // decoder.condition_hop
        previous = self._with_noise(decoder.wavenet.previous(levels)).repeat(draws, 1)
        levels = levels.repeat(draws, 1)

        rows = torch.arange(len(condition), device=levels.device)[:, None]
        samples = begin[:, None] * hop + torch.arange(crop, device=levels.device)
        frames = begin[:, None] * parts + torch.arange(
            crop // decoder.condition_hop, device=levels.device
        )
        kept = self._scored(crop, levels.device)
        condition, lag = decoder.with_contour(condition, self._contour(condition, batch))
        logits = decoder.wavenet(
            previous[rows, samples],
            condition[rows, frames],
            kept,
            None if lag is None else lag[rows, frames],
        )
        samples = samples if kept is None else samples.index_select(1, kept)
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), levels[rows, samples].flatten(), reduction="none"
        )
        return losses.view(samples.shape), (samples < valid[:, None]).float()

    def _scored(self, crop: int, device: torch.device) -> Tensor | None:
        """Which samples of a crop have their likelihood taken: every so many-th from a random one on; None for all."""
        if self.scored_every == 1:
            return None
        first = torch.randint(self.scored_every, (1,), device=device)
        count = max(1, crop // self.scored_every)
        return (first + self.scored_every * torch.arange(count, device=device)).clamp(max=crop - 1)

    def _with_noise(self, previous: Tensor) -> Tensor:
        """Teacher-forced inputs with noise in half of the rows, as an approximation of sampled ones."""
        if not self.input_noise:
            return previous
        rows = (len(previous), 1)
        draw = torch.rand(rows, device=previous.device) * 2 - 1
        noise = (
            draw.clamp(min=0)
            * self.input_noise
            * torch.randn(previous.shape, device=previous.device)
        )
        return (previous + noise.round().long()).clamp(0, self.model.config.levels - 1)


def _mean(losses: Tensor, inside: Tensor) -> Tensor:
    return (losses * inside).sum() / inside.sum().clamp(min=1)
