"""The training loss of a batch, in nats: likelihood of samples, bottleneck terms, optional spectral head."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.audio import mulaw_encode
from vqspeech.corpus.segments import Batch
from vqspeech.model import Autoencoder
from vqspeech.nn.bottleneck import BottleneckOutput
from vqspeech.nn.jitter import jitter
from vqspeech.training.perturb import Perturbation


class Losses(NamedTuple):
    """Scalars of a batch and what the bottleneck did.

    Attributes
    ----------
    total : Tensor
        What is minimised.
    nll : Tensor
        Nats a sample; 0 while the WaveNet is left out.
    spectral : Tensor
        Error of the spectral head; 0 without one.
    output : BottleneckOutput
        For the update of the bottleneck.
    """

    total: Tensor
    nll: Tensor
    spectral: Tensor
    output: BottleneckOutput


class Objective(nn.Module):
    """Model and spectral head under one loss.

    Parameters
    ----------
    model : Autoencoder
        The model to train.
    jitter_probability : float
        Chance that a latent is replaced by a neighbour.
    spectral_weight : float
        Weight of the spectral loss beside the likelihood; in the warm start, without likelihood, it is 1.
    head : SpectralHead or CepstralHead, optional
        Head that gives the spectral loss.
    scored_every : int
        The likelihood is taken of one sample in so many.
    perturbation : Perturbation, optional
        What the encoder hears is changed by it; what is to be predicted is not.
    """

    def __init__(
        self,
        model: Autoencoder,
        jitter_probability: float,
        spectral_weight: float,
        head: nn.Module | None = None,
        scored_every: int = 1,
        perturbation: Perturbation | None = None,
    ) -> None:
        super().__init__()
        self.scored_every = scored_every
        self.perturbation = perturbation
        self.model = model
        self.jitter_probability = jitter_probability
        self.spectral_weight = spectral_weight
        self.head = head

    def forward(self, batch: Batch, crop: int, codes_learn: bool = True) -> Losses:
        """Loss of a batch.

        Parameters
        ----------
        batch : Batch
            Segments.
        crop : int
            Samples a segment that the WaveNet learns from; 0 leaves it out.
        codes_learn : bool
            Whether encoder, codebook and spectral head get a gradient. If not, nothing is perturbed either.
        """
        wav = batch.pcm.float() / 32768
        if not codes_learn:
            with torch.no_grad():
                output = self.model.bottleneck(self.model.encoder(wav))
            nll = self._nll(wav, jitter(output.z_q, self.jitter_probability), batch, crop)
            return Losses(nll, nll.detach(), wav.new_zeros(()), output)
        heard = wav if self.perturbation is None else self.perturbation(wav)
        output = self.model.bottleneck(self.model.encoder(heard))
        z_q = jitter(output.z_q, self.jitter_probability)
        nll = self._nll(wav, z_q, batch, crop) if crop else wav.new_zeros(())
        weight = self.spectral_weight if crop else 1.0
        spectral = wav.new_zeros(())
        if self.head is not None and weight:
            starts = torch.arange(z_q.shape[2], device=wav.device) * self.model.hop
            spectral = self.head(z_q, batch.speaker, wav, starts < batch.valid[:, None])
        total = nll + weight * spectral + output.loss
        return Losses(total, nll.detach(), spectral.detach(), output)

    def _nll(self, wav: Tensor, z_q: Tensor, batch: Batch, crop: int) -> Tensor:
        decoder, hop = self.model.decoder, self.model.hop
        condition = decoder.conditioner(z_q, batch.speaker)
        parts = hop // decoder.condition_hop
        levels = mulaw_encode(wav, self.model.config.levels)
        previous = decoder.wavenet.previous(levels)

        rows = torch.arange(len(wav), device=wav.device)[:, None]
        samples = batch.crop[:, None] * hop + torch.arange(crop, device=wav.device)
        frames = batch.crop[:, None] * parts + torch.arange(
            crop // decoder.condition_hop, device=wav.device
        )
        first = int(torch.randint(self.scored_every, ())) if self.scored_every > 1 else 0
        kept = slice(first, None, self.scored_every)
        logits = decoder.wavenet(previous[rows, samples], condition[rows, frames], kept)
        samples = samples[:, kept]
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(), levels[rows, samples].flatten(), reduction="none"
        )
        inside = (samples < batch.valid[:, None]).flatten().float()
        return (losses * inside).sum() / inside.sum().clamp(min=1)
