"""An excerpt over one time axis: wave, spectrogram, phones and the codes of each system; ``picture.svg`` draws it.

Boxes have the colour of their phone; a code has that of the phone it stands for, so codes with
phonetic content repeat the colours of the row of phones. Colours of text and lines come from the page.
"""

import io
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.examples import Example, code_runs
from vqspeech.analysis.study import SystemStudy
from vqspeech.labels.frames import Interval
from vqspeech.labels.phones import PHONE_INDEX, PHONES, SILENCE

_WAVE, _SPECTROGRAM, _ROW, _AXIS, _GAP = 70, 130, 26, 22, 6
_LETTER, _UPRIGHT = 6.2, 9.0


class Tier(NamedTuple):
    """A row of a picture: its name, its place in pixels from the top, and intervals as `picture.svg` draws them."""

    name: str
    top: int
    height: int
    boxes: list[dict[str, Any]]


def picture(example: Example, studies: Sequence[SystemStudy]) -> dict[str, Any]:
    """Lay out an excerpt for `picture.svg`, in pixels; the studies say which phone a code stands for."""
    fastest_hz = max(study.system.frame_rate_hz for study in studies)
    # Wide enough for a code's number, upright, unless codes are very fast.
    scale = float(np.clip(_UPRIGHT * fastest_hz, 200, 900))
    width = round(scale * example.duration_s)
    phones = [(phone, phone.label, phone.label) for phone in example.phones]
    rows = [("wave", _WAVE, []), ("spectrogram", _SPECTROGRAM, []), ("phones", _ROW, phones)]
    for study in studies:
        name = study.system.name
        if name in example.codes:
            runs = code_runs(example.codes[name], study.system, len(example.wav))
            stands = [PHONES[study.phonemes.mapping[int(run.label)]] for run in runs]
            words = [
                (run, phone, f"code {run.label}: {phone}")
                for run, phone in zip(runs, stands, strict=True)
            ]
            rows.append((name, _ROW, words))
    tiers, top = [], 0
    for name, height, intervals in rows:
        tiers.append(Tier(name, top, height, list(_boxes(intervals, scale))))
        top += height + _GAP
    axis = top - _GAP
    return {
        "width": width,
        "height": axis + _AXIS,
        "axis": axis,
        "tiers": tiers,
        "wave": _wave(example.wav, width),
        "spectrogram": _spectrogram(example),
        "ticks": [
            {"x": tenth / 10 * scale, "text": "" if tenth % 5 else f"{tenth / 10:g} s"}
            for tenth in range(int(example.duration_s * 10) + 1)
        ],
    }


def colour(phone: str) -> str:
    """Return the colour of a phone, as CSS; neighbours in `PHONES` look alike, silence is grey."""
    if phone == SILENCE or phone not in PHONE_INDEX:
        return "#c9cbc9"
    index = PHONE_INDEX[phone]
    return f"hsl({round(index * 360 / (len(PHONES) - 1))} {62 + 14 * (index % 2)}% {82 - 5 * (index % 3)}%)"


def _boxes(
    intervals: Iterable[tuple[Interval, str, str]], scale: float
) -> Iterable[dict[str, Any]]:
    """Place intervals, each with the phone that colours it and its words in full."""
    for interval, phone, words in intervals:
        x, width = interval.start_s * scale, (interval.end_s - interval.start_s) * scale
        yield {
            "x": x,
            "width": max(width - 0.6, 0.4),
            "middle": x + width / 2,
            "colour": colour(phone),
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


def _spectrogram(example: Example) -> bytes:
    """Draw 70 dB of power in windows of 20 ms every 5 ms, as a PNG file."""
    from matplotlib.image import imsave

    window, step = round(0.02 * example.sample_rate), round(0.005 * example.sample_rate)
    padded = np.pad(example.wav, (window // 2, window))
    starts = np.arange(0, len(example.wav), step)
    frames = padded[starts[:, None] + np.arange(window)] * np.hanning(window)
    power_db = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1, n=2 * window)) + 1e-7)
    top_db = power_db.max()
    file = io.BytesIO()
    imsave(
        file, power_db.T, vmin=top_db - 70, vmax=top_db, cmap="magma", origin="lower", format="png"
    )
    return file.getvalue()
