"""What the demo does with a model: read a recording, convert it, decode codes, sample from the prior, draw pictures.

A `wav` is float32 in [-1, 1], (samples,), at the model's rate. Nothing here knows of the page.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqspeech import audio
from vqspeech.alignment import sphinx
from vqspeech.analysis.examples import code_runs
from vqspeech.audio.pitch import track
from vqspeech.errors import AudioError, ConfigurationError, VqspeechError
from vqspeech.evaluation.words import Whisper, packaged_whisper
from vqspeech.labels.frames import Interval
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.decoding import Request
from vqspeech.models.prior import Prior, prompt_codes
from vqspeech.report.picture import Mark, lay_out, phone_marks
from vqspeech.sampling import Sampling

MEASURED_S = 1.0
"""Seconds that are decoded to measure speed."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What a visitor gave.

    Attributes
    ----------
    name : str
        Of the file.
    wav : ndarray of float32, shape (samples,)
        The sound.
    conditioning : Tensor
        Codes, int64, (frames,), or latents, float32, (dim, frames).
    contour : ndarray or None
        Its pitch contour, for a model that takes one.
    """

    name: str
    wav: NDArray[np.float32]
    conditioning: Tensor
    contour: NDArray[np.float32] | None


class Studio:
    """A model at work.

    Parameters
    ----------
    model : Autoencoder
        In evaluation mode, on its device.
    name : str
        Of the model, for people.
    sampling : Sampling
        How levels are drawn, its engine and mode decided.
    prior : Prior or None
        Over the codes of the model.
    longest_s : float
        Longest recording, seconds.

    Attributes
    ----------
    speed : float
        Seconds of sound a second when nothing else is made; nan before `measure`.
    """

    def __init__(
        self,
        model: Autoencoder,
        name: str,
        sampling: Sampling,
        prior: Prior | None,
        longest_s: float,
    ) -> None:
        self.model, self.name, self.sampling, self.prior = model, name, sampling, prior
        self.longest_s = longest_s
        self.speed = math.nan
        # pocketsphinx and Whisper serve one caller at a time.
        self._listening = threading.Lock()

    def measure(self) -> None:
        """Decode a little noise, which also loads what is loaded on first use, and take the time of the second half."""
        rate = self.model.sample_rate
        noise = np.random.default_rng(0).normal(0, 0.05, round(MEASURED_S * rate))
        recording = self.encode("noise", noise.astype(np.float32))
        started, before = 0.0, 0
        made = 0
        for block in self.make(self.request(recording, self.model.speakers[0], 0)):
            made += len(block)
            if not started and made >= len(noise) // 2:
                started, before = time.perf_counter(), made
        if made > before:
            self.speed = (made - before) / rate / max(time.perf_counter() - started, 1e-9)
        self.picture(recording.wav, recording.conditioning)

    @property
    def most_codes(self) -> int:
        """Codes of the longest recording."""
        return max(1, int(self.longest_s * self.model.frame_rate_hz))

    def read(self, path: Path, name: str) -> Recording:
        """Read and encode a sound file.

        Raises
        ------
        AudioError
            It cannot be read, or is longer than allowed, which is noticed without reading all of it.
        """
        rate = self.model.sample_rate
        blocks: list[NDArray[np.float32]] = []
        samples = 0
        try:
            for block in audio.read_blocks(path, rate, block_s=1.0):
                samples += len(block)
                if samples > self.longest_s * rate:
                    raise AudioError(f"longer than {self.longest_s:g} s, the limit here; cut it")
                blocks.append(block)
        except AudioError as error:
            # The file lies where its visitor did not put it: what they know is its name.
            raise AudioError(f"{name}: {str(error).removeprefix(f'{path}: ')}") from None
        return self.encode(name, np.concatenate(blocks))

    def encode(self, name: str, wav: NDArray[np.float32]) -> Recording:
        """Encode a recording (samples,), with its pitch where the model takes it."""
        tracked = track(wav, self.model.sample_rate) if self.model.decoder.pitch else None
        return Recording(name, wav, self.model.conditioning(wav), tracked)

    def request(self, recording: Recording, speaker: str, seed: int) -> Request:
        """Ask for a recording in the voice of a speaker."""
        contour = None
        if self.model.decoder.pitch:
            contour = self.model.contour(recording.conditioning, speaker, recording.contour)
        return Request(recording.conditioning, speaker, len(recording.wav), seed, contour)

    def make(self, request: Request) -> Iterator[NDArray[np.float32]]:
        """Decode a request: blocks as they are made. It is checked at once; closing the iterator ends the work."""
        codes, speaker, samples, seed, contour = request
        blocks = self.model.stream(
            codes, speaker, samples, seed=seed, sampling=self.sampling, contour=contour
        )
        return (block.numpy() for block in blocks)

    def samples(self, request: Request) -> int:
        """Count the samples of a request."""
        return request.samples or torch.as_tensor(request.codes).shape[-1] * self.model.hop

    def draw_codes(
        self, seconds: float, speaker: str, seed: int, prompt: Recording | None
    ) -> Tensor:
        """Draw codes from the prior, after those of a recording where one is given.

        Returns
        -------
        Tensor
            int64, (frames,): those of the recording, without the ones that have heard its end, and the new ones.

        Raises
        ------
        ConfigurationError
            There is no prior, or both together are longer than allowed.
        """
        if self.prior is None:
            raise ConfigurationError(f"{self.name} has no prior: there is nothing to draw from")
        begun = torch.empty(0, dtype=torch.int64)
        if prompt is not None:
            begun = prompt_codes(self.model, prompt.conditioning, len(prompt.wav))
        frames = max(1, round(seconds * self.model.frame_rate_hz))
        if len(begun) + frames > self.most_codes:
            raise ConfigurationError(
                f"recording and continuation are longer than {self.longest_s:g} s, the limit here"
            )
        drawn = self.prior.sample(frames, speaker, prompt=begun, seed=seed)
        return torch.cat([begun, drawn])

    def picture(
        self,
        wav: NDArray[np.float32],
        conditioning: Tensor | NDArray[np.int64],
        phones: list[Interval] | None = None,
    ) -> dict[str, Any]:
        """Lay out wave, spectrogram, phones where there are some, and codes for ``picture.svg``."""
        rows: dict[str, list[Mark]] = {}
        label = "Wave and spectrogram"
        if phones is not None:
            rows["phones"] = phone_marks(phones)
            label += f", phones ({' '.join(phone.label for phone in phones)})"
        codes = np.asarray(conditioning)
        if codes.ndim == 1:
            model = self.model
            rows["codes"] = [
                Mark(run, _colour(int(run.label), model.codebook_size), f"code {run.label}")
                for run in code_runs(codes, model.hop, model.sample_rate, len(wav))
            ]
            label += f", {len(codes)} codes"
        return lay_out(wav, self.model.sample_rate, rows, self.model.frame_rate_hz, f"{label}.")

    def phones(self, recording: Recording, text: str) -> tuple[str, list[Interval]]:
        """Find the phones of a recording; without a text, of the words that a recogniser hears.

        Returns
        -------
        text : str
            The words.
        phones : list of Interval
            Phones and silence, end to end.

        Raises
        ------
        ConfigurationError
            What it needs is not installed, or there is neither a text nor a recogniser.
        CorpusError
            The words are not found in the recording.
        """
        sphinx.check_installed()
        with self._listening:
            if not text.strip():
                if self._whisper is None:
                    raise ConfigurationError(
                        "write down what is said: phones are found by its words"
                    )
                text = self._whisper.transcribe(recording.wav, self.model.sample_rate)
            return text, sphinx.align(recording.wav, text, self.model.sample_rate).phones

    @cached_property
    def _whisper(self) -> Whisper | None:
        folder = packaged_whisper()
        with suppress(VqspeechError, ImportError):
            return None if folder is None else Whisper(folder)
        return None

    def facts(self) -> Mapping[str, str]:
        """Say which model and engine work here, and how fast, by the names of the facts."""
        model = self.model
        coded = f"{model.codebook_size} different codes" if model.discrete else "no codes"
        measured = f"{self.speed:.1f} times real time, measured at the start"
        return {
            "model": f"{self.name}: {model.frame_rate_hz:g} frames a second, {coded}",
            "engine": f"{self.sampling.engine} ({self.sampling.mode}) on {model.device}",
            "speed": "not measured" if math.isnan(self.speed) else measured,
        }


def _colour(code: int, codebook_size: int) -> str:
    """Colour a code, as CSS; light enough for dark letters. Neighbours in the codebook look different."""
    return f"hsl({round(code * 137.508) % 360} {55 + 20 * (code % 2)}% {80 - 6 * (code % 3)}%)"
