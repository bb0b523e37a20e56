"""A recording over one time axis: wave, spectrogram, and rows of labelled intervals; ``picture.svg`` draws it.

In the picture of a study boxes have the colour of their phone; a code has that of the phone it stands for, so codes
with phonetic content repeat the colours of the row of phones. Colours of text and lines come from the page.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.examples import Example, code_runs
from vqspeech.analysis.study import SystemStudy
from vqspeech.labels.frames import Interval
from vqspeech.labels.phones import PHONE_INDEX, PHONES, SILENCE

_WAVE, _SPECTROGRAM, _ROW, _AXIS, _GAP = 70, 130, 26, 22, 6
_LETTER, _UPRIGHT = 6.2, 9.0


class Mark(NamedTuple):
    """An interval in a row of a picture: when, its colour as CSS, and its words in full."""

    interval: Interval
    colour: str
    words: str


class Tier(NamedTuple):
    """A row of a picture: its name, its place in pixels from the top, and intervals as `picture.svg` draws them."""

    name: str
    top: int
    height: int
    boxes: list[dict[str, Any]]


def picture(example: Example, studies: Sequence[SystemStudy]) -> dict[str, Any]:
    """Lay out an excerpt for `picture.svg`; the studies say which phone a code stands for."""
    rows = {"phones": phone_marks(example.phones)}
    for study in studies:
        name, system = study.system.name, study.system
        if name in example.codes:
            runs = code_runs(example.codes[name], system.hop, system.sample_rate, len(example.wav))
            stands = [PHONES[study.phonemes.mapping[int(run.label)]] for run in runs]
            rows[name] = [
                Mark(run, colour(phone), f"code {run.label}: {phone}")
                for run, phone in zip(runs, stands, strict=True)
            ]
    spoken = " ".join(phone.label for phone in example.phones)
    return lay_out(
        example.wav,
        example.sample_rate,
        rows,
        max(study.system.frame_rate_hz for study in studies),
        f"Wave, spectrogram, phones and codes of {example.utterance}. Phones: {spoken}.",
    )


def phone_marks(phones: Iterable[Interval]) -> list[Mark]:
    """Give phones their colours."""
    return [Mark(phone, colour(phone.label), phone.label) for phone in phones]


def lay_out(
    wav: NDArray[np.float32],
    sample_rate: int,
    rows: Mapping[str, Sequence[Mark]],
    frame_rate_hz: float,
    label: str,
) -> dict[str, Any]:
    """Lay out a recording for `picture.svg`, in pixels.

    Parameters
    ----------
    wav : ndarray of float32, shape (samples,)
        The recording, at least one sample.
    sample_rate : int
        Hz.
    rows : mapping of str to sequence of Mark
        What stands below wave and spectrogram, by name.
    frame_rate_hz : float
        Codes a second of the fastest row: it is drawn wide enough for their numbers.
    label : str
        The picture in words, for who cannot see it.

    Returns
    -------
    dict
        What `picture.svg` calls ``picture``.
    """
    # Wide enough for a code's number, upright, unless codes are very fast.
    scale = float(np.clip(_UPRIGHT * frame_rate_hz, 200, 900))
    duration_s = len(wav) / sample_rate
    width = max(1, round(scale * duration_s))
    laid: list[tuple[str, int, Sequence[Mark]]] = [
        ("wave", _WAVE, ()),
        ("spectrogram", _SPECTROGRAM, ()),
    ]
    laid += [(name, _ROW, marks) for name, marks in rows.items()]
    tiers, top = [], 0
    for name, height, marks in laid:
        tiers.append(Tier(name, top, height, list(_boxes(marks, scale))))
        top += height + _GAP
    axis = top - _GAP
    return {
        "label": label,
        "width": width,
        "height": axis + _AXIS,
        "axis": axis,
        "tiers": tiers,
        "wave": _wave(wav, width),
        "spectrogram": _spectrogram(wav, sample_rate),
        "ticks": [
            {"x": tenth / 10 * scale, "text": "" if tenth % 5 else f"{tenth / 10:g} s"}
            for tenth in range(int(duration_s * 10) + 1)
        ],
    }


def colour(phone: str) -> str:
    """Return the colour of a phone, as CSS; neighbours in `PHONES` look alike, silence is grey."""
    if phone == SILENCE or phone not in PHONE_INDEX:
        return "#c9cbc9"
    index = PHONE_INDEX[phone]
    return f"hsl({round(index * 360 / (len(PHONES) - 1))} {62 + 14 * (index % 2)}% {82 - 5 * (index % 3)}%)"


def _boxes(marks: Iterable[Mark], scale: float) -> Iterator[dict[str, Any]]:
    """Place intervals."""
    for interval, fill, words in marks:
        x, width = interval.start_s * scale, (interval.end_s - interval.start_s) * scale
        yield {
            "x": x,
            "width": max(width - 0.6, 0.4),
            "middle": x + width / 2,
            "colour": fill,
            "words": words,
            "label": "" if width < _UPRIGHT - 0.5 else interval.label,
            "upright": width < _LETTER * len(interval.label),
        }


def _wave(wav: NDArray[np.float32], width: int) -> str:
    """Outline a wave: from left to right its peaks, back its troughs."""
    columns = max(1, width // 2)
    edges = np.linspace(0, len(wav), columns + 1).astype(int)[:-1]
    peak = float(np.abs(wav).max()) or 1.0
    middle, reach = _WAVE / 2, (_WAVE / 2 - 1) / peak
    ys = [middle - reach * np.maximum.reduceat(wav, edges) - 0.3]
    ys += [(middle - reach * np.minimum.reduceat(wav, edges) + 0.3)[::-1]]
    xs = np.arange(columns) * width / columns
    points = zip(np.concatenate((xs, xs[::-1])), np.concatenate(ys), strict=True)
    return " ".join(f"{x:.0f},{y:.1f}" for x, y in points)


def _spectrogram(wav: NDArray[np.float32], sample_rate: int) -> bytes:
    """Draw 70 dB of power in windows of 20 ms every 5 ms, as a PNG file."""
    from matplotlib.image import imsave

    window, step = round(0.02 * sample_rate), round(0.005 * sample_rate)
    padded = np.pad(wav, (window // 2, window))
    starts = np.arange(0, len(wav), step)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power_db = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1, n=2 * window)) + 1e-7)
    top_db = power_db.max()
    file = io.BytesIO()
    imsave(
        file, power_db.T, vmin=top_db - 70, vmax=top_db, cmap="magma", origin="lower", format="png"
    )
    return file.getvalue()
