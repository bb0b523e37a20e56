"""The prior: a model of code sequences, learned over the frozen codes of an autoencoder.

Van den Oord et al. 2017, section 4.3, train one after the fact. It says how likely each code is after those before it,
and so the rate of speech in these codes, and samples new sequences, which the decoder turns into sound. Without a
speaker, or with one that is not in its table, it is unconditional; it learns that by speaker dropout.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.config import unfit_arguments
from vqspeech.nn.code_convolutions import CodeConvolutions, Past
from vqspeech.sampling import Sampling, uniforms
from vqspeech.sampling.reference import choose, one_thread

SCORED_FRAMES = 1_024
"""Codes whose likelihood is computed at a time; bounds the memory that a long sequence takes."""

SMALLEST = 1e-9
"""Least probability that a predictor gives: every code can follow, whatever the prior thinks of it."""


@dataclass(frozen=True)
class PriorConfig:
    """Everything that decides the shape of a prior, and whose codes it knows; plain values, as stored in its file.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    codebook_id : str
        `Autoencoder.codebook_id` of the model that made the codes.
    network : mapping
        Arguments of `CodeConvolutions`.
    """

    codebook_size: int
    codebook_id: str
    network: Mapping[str, Any]


def _check_network(network: Mapping[str, Any]) -> None:
    """Check that settings of the network bind, and name all that is wrong at once."""
    supplied = ["codebook_size", "speakers", "dropout"]
    wrong = unfit_arguments(CodeConvolutions, network, supplied)
    if wrong:
        raise ConfigurationError("; ".join(f"network: {w}" for w in wrong))


class Prior(nn.Module):
    """An autoregressive model of codes.

    Parameters
    ----------
    config : PriorConfig
        Shape, and whose codes.
    speakers : sequence of str
        Names of the speakers it knows, in the order of its table; its last row is unconditional.
    dropout : float
        Of `CodeConvolutions`, in training alone.

    Attributes
    ----------
    codebook_size : int
        Number of different codes.
    codebook_id : str
        Of the model whose codes it knows.
    unigram : Tensor
        Buffer, float32, (codebook_size,): log-probability, in nats, of each code among those it was trained on; uniform
        before that.
    """

    def __init__(self, config: PriorConfig, speakers: Sequence[str], dropout: float = 0.0) -> None:
        super().__init__()
        size = config.codebook_size
        if type(size) is not int or size < 1:
            raise ConfigurationError(f"codebook_size: {size!r} is not a whole number above 0")
        _check_network(config.network)
        self.config = config
        self.speakers = tuple(speakers)
        self.codebook_size, self.codebook_id = size, config.codebook_id
        self.network = CodeConvolutions(
            size, len(self.speakers) + 1, dropout=dropout, **config.network
        )
        self.register_buffer("unigram", torch.full((size,), 1 / size).log())
        self.unigram: Tensor

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.unigram.device

    @property
    def prior_id(self) -> str:
        """16 hexadecimal digits that tell this prior from any other: what was written with it names it."""
        digest = hashlib.sha256(
            json.dumps([asdict(self.config), self.speakers], sort_keys=True).encode()
        )
        for _, tensor in sorted(self.state_dict().items()):
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def speaker_row(self, speaker: str | None) -> int:
        """Row of a speaker in the table; the unconditional one for None and for names outside the table."""
        known = speaker in self.speakers
        return self.speakers.index(speaker) if known else len(self.speakers)

    @torch.inference_mode()
    def nll(self, codes: Tensor | NDArray[np.int64], speaker: str | None = None) -> Tensor:
        """Negative log-likelihood of a sequence, exact, in windows of bounded memory.

        Parameters
        ----------
        codes : Tensor or ndarray
            int64, (frames,), in [0, codebook_size).
        speaker : str, optional
            Who speaks.

        Returns
        -------
        Tensor
            float32, (frames,): -log p of each code given those before it, in nats, on the CPU.

        Raises
        ------
        VqspeechError
            A code is out of range.
        """
        wanted = self._checked(codes).to(self.device)
        previous = F.pad(wanted[:-1], (1, 0), value=self.network.start)
        row = torch.tensor([self.speaker_row(speaker)], device=self.device)
        losses, past = [torch.empty(0)], ()
        for start in range(0, len(wanted), SCORED_FRAMES):
            window = slice(start, start + SCORED_FRAMES)
            logits, past = self.network(previous[None, window], row, past)
            losses.append(
                F.cross_entropy(logits[0].float(), wanted[window], reduction="none").cpu()
            )
        return torch.cat(losses)

    def predictor(self, speaker: str | None = None) -> "Predictor":
        """Return what predicts one code after another, from the start of a sequence on."""
        return Predictor(self.network, self.speaker_row(speaker))

    def sample(
        self,
        frames: int,
        speaker: str | None = None,
        *,
        prompt: Tensor | NDArray[np.int64] | None = None,
        seed: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        progress: Callable[[int], object] | None = None,
    ) -> Tensor:
        """Draw a sequence, or what follows another one.

        Parameters
        ----------
        frames : int
            Codes to draw.
        speaker : str, optional
            Who speaks.
        prompt : Tensor or ndarray, optional
            int64, (any number,): what the sequence begins with; it is not returned.
        seed : int
            Of the draws; the same seed gives the same codes.
        temperature : float
            Divides the logits; 0 takes the likeliest code.
        top_p : float
            In (0, 1]: codes are drawn from the fewest that hold this much probability.
        progress : callable, optional
            Called with 1 after every code.

        Returns
        -------
        Tensor
            int64, (frames,), on the CPU.

        Raises
        ------
        ConfigurationError
            Temperature or top_p are out of range.
        VqspeechError
            A code of the prompt is out of range.
        """
        how = Sampling(temperature=temperature, top_p=top_p)
        predictor = self.predictor(speaker)
        for code in self._checked([] if prompt is None else prompt).tolist():
            predictor.push(code)
        drawn = torch.empty(frames, dtype=torch.int64)
        for frame, uniform in enumerate(uniforms(frames, seed)):
            code = choose(
                predictor.logits[None].float(), uniform[None], how.effective_temperature, how.top_p
            )
            drawn[frame] = code[0]
            predictor.push(int(code))
            if progress is not None:
                progress(1)
        return drawn

    def _checked(self, codes: Any) -> Tensor:
        row = torch.as_tensor(codes).to(torch.int64).cpu()
        if row.ndim != 1:
            raise VqspeechError(f"codes of shape {tuple(row.shape)}: expected (frames,)")
        if len(row) and not 0 <= int(row.min()) <= int(row.max()) < self.codebook_size:
            raise VqspeechError(
                f"codes from {int(row.min())} to {int(row.max())}:"
                f" the prior's are from 0 to {self.codebook_size - 1}"
            )
        return row


class Predictor:
    """A sequence on its way: the distribution of its next code, whatever that turns out to be.

    It works on the CPU, in one thread, step by step, so that the same pushes give the same bits of the same numbers on
    one machine, in whatever process. It counts in float64: what other machines say differs by some 1e-15 of a
    probability, which rounding hides from an entropy coder (`entropy.weights`), where a float32 would not do.

    Parameters
    ----------
    network : CodeConvolutions
        The network, which is copied.
    row : int
        Of the speaker.

    Attributes
    ----------
    logits : Tensor
        float64, (codebook_size,): of the next code.
    """

    def __init__(self, network: CodeConvolutions, row: int) -> None:
        self._network = copy.deepcopy(network).cpu().double()
        self._speaker = torch.tensor([row])
        self._past: Past = ()
        self._advance(network.start)

    def probabilities(self) -> NDArray[np.float64]:
        """Return the distribution of the next code, float64, (codebook_size,), none below `SMALLEST`."""
        logits = self.logits.numpy()
        shares = np.exp(logits - logits.max())
        return np.maximum(shares / shares.sum(), SMALLEST)

    def push(self, code: int) -> None:
        """Take note of the next code, in [0, codebook_size)."""
        if not 0 <= code < self._network.start:
            raise VqspeechError(f"code {code}: the prior's are from 0 to {self._network.start - 1}")
        self._advance(code)

    @torch.inference_mode()
    def _advance(self, previous: int) -> None:
        with one_thread():
            logits, self._past = self._network(
                torch.tensor([[previous]]), self._speaker, self._past
            )
        self.logits: Tensor = logits[0, 0]


def prompt_codes(model: Autoencoder, codes: Tensor, samples: int) -> Tensor:
    """Leave out the codes (frames,) of a recording of so many samples that have heard its end.

    The encoder looks a little ahead, and the last codes would say that speech stops there. Of a recording that is
    too short for that, every code is kept.
    """
    kept = (samples - model.encoder.context[1]) // model.hop
    return codes[:kept] if kept > 0 else codes


def check_fits(prior: Prior, model: Autoencoder) -> None:
    """Check that a prior was trained on the codes of a model.

    Raises
    ------
    VqspeechError
        It was trained on the codes of another codebook.
    """
    if prior.codebook_id != model.codebook_id:
        raise VqspeechError(
            f"the prior was trained on codes of codebook {prior.codebook_id}, this model's is {model.codebook_id};"
            " use the model it was trained on, or train a prior for this one"
        )
