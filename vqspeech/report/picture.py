"""An excerpt as one SVG: wave, spectrogram, phones and the codes of each system over one time axis.

Boxes have the colour of their phone; a code has that of the phone it stands for, so codes that know
phones repeat the colours of the row of phones. Colours of text and lines come from the page.
"""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.examples import Example, code_runs
from vqspeech.analysis.study import SystemStudy
from vqspeech.labels.frames import Interval
from vqspeech.labels.phones import PHONE_INDEX, PHONES, SILENCE

_WAVE, _SPECTROGRAM, _ROW, _AXIS = 70, 130, 26, 22
_LETTER, _UPRIGHT = 6.2, 9.0


def tiers(example: Example, studies: Sequence[SystemStudy]) -> list[tuple[str, int, int]]:
    """List the rows of a picture: name, top and height, in pixels.

    Parameters
    ----------
    example : Example
        What is drawn.
    studies : sequence of SystemStudy
        Systems whose codes are drawn, in this order.

    Returns
    -------
    list of (str, int, int)
        From top to bottom.
    """
    names = [study.system.name for study in studies if study.system.name in example.codes]
    rows = [("wave", _WAVE), ("spectrogram", _SPECTROGRAM), ("phones", _ROW)]
    rows += [(name, _ROW) for name in names]
    tops = np.cumsum([0, *(height + 6 for _, height in rows)]).tolist()
    return [(name, top, height) for (name, height), top in zip(rows, tops, strict=False)]


def draw(example: Example, studies: Sequence[SystemStudy]) -> str:
    """Draw an excerpt.

    Parameters
    ----------
    example : Example
        What to draw.
    studies : sequence of SystemStudy
        Systems whose codes to draw; they say which phone a code stands for.

    Returns
    -------
    str
        An ``svg`` element that refers to nothing outside itself. Classes ``wave``, ``axis``,
        ``tick`` and ``box-label`` are for the page to style.
    """
    fastest_hz = max(study.system.frame_rate_hz for study in studies)
    # Wide enough for a code's number, upright, unless codes are very fast.
    scale = float(np.clip(_UPRIGHT * fastest_hz, 200, 900))
    width = round(scale * example.duration_s)
    rows = tiers(example, studies)
    height = rows[-1][1] + rows[-1][2] + _AXIS
    said = " ".join(phone.label for phone in example.phones)
    parts = [
        f'<svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="Wave, spectrogram, phones and codes of {escape(example.utterance)}. '
        f'Phones: {escape(said)}.">',
        _wave(example.wav, width),
        f'<image y="{rows[1][1]}" width="{width}" height="{_SPECTROGRAM}" '
        f'preserveAspectRatio="none" href="{_spectrogram(example)}"/>',
    ]
    phones = [(phone, phone.label, phone.label) for phone in example.phones]
    parts.append(_boxes(phones, rows[2][1], scale))
    by_name = {study.system.name: study for study in studies}
    for name, top, _ in rows[3:]:
        study = by_name[name]
        runs = code_runs(example.codes[study.system.name], study.system, len(example.wav))
        stands = [PHONES[study.phonemes.mapping[int(run.label)]] for run in runs]
        boxes = [
            (run, phone, f"code {run.label}: {phone}")
            for run, phone in zip(runs, stands, strict=True)
        ]
        parts.append(_boxes(boxes, top, scale))
    parts.append(_time_axis(example.duration_s, height - _AXIS, scale))
    return "".join([*parts, "</svg>"])


def colour(phone: str) -> str:
    """Return the colour of a phone, as CSS; neighbours in `PHONES` look alike, silence is grey."""
    if phone == SILENCE or phone not in PHONE_INDEX:
        return "#c9cbc9"
    index = PHONE_INDEX[phone]
    return f"hsl({round(index * 360 / (len(PHONES) - 1))} {62 + 14 * (index % 2)}% {82 - 5 * (index % 3)}%)"


def _boxes(boxes: Sequence[tuple[Interval, str, str]], top: int, scale: float) -> str:
    """Draw intervals, each with the phone that colours it and what is told of it."""
    parts = []
    for interval, phone, told in boxes:
        x, width = interval.start_s * scale, (interval.end_s - interval.start_s) * scale
        middle, label = x + width / 2, escape(interval.label)
        turn = ""
        if width < _LETTER * len(interval.label):
            turn = f' transform="rotate(-90 {middle:.1f} {top + _ROW / 2:g})"'
        if width < _UPRIGHT - 0.5:
            label = ""
        parts.append(
            f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{top}" '
            f'width="{max(width - 0.6, 0.4):.1f}" height="{_ROW}" fill="{colour(phone)}"/>'
        )
        if label:
            parts.append(
                f'<text class="box-label" x="{middle:.1f}" y="{top + _ROW / 2:g}"{turn}>{label}</text>'
            )
        parts.append("</g>")
    return "".join(parts)


def _wave(wav: NDArray[np.float32], width: int) -> str:
    columns = max(1, width // 2)
    edges = np.linspace(0, len(wav), columns + 1).astype(int)[:-1]
    peak = float(np.abs(wav).max()) or 1.0
    middle, reach = _WAVE / 2, (_WAVE / 2 - 1) / peak
    upper, lower = np.maximum.reduceat(wav, edges), np.minimum.reduceat(wav, edges)
    xs = np.arange(columns) * width / columns
    points = [f"{x:.0f},{middle - reach * y - 0.3:.1f}" for x, y in zip(xs, upper, strict=True)]
    points += [
        f"{x:.0f},{middle - reach * y + 0.3:.1f}"
        for x, y in zip(xs[::-1], lower[::-1], strict=True)
    ]
    return f'<polygon class="wave" points="{" ".join(points)}"/>'


def _spectrogram(example: Example) -> str:
    """Draw 70 dB of power in windows of 20 ms every 5 ms, as a data URL."""
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
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def _time_axis(duration_s: float, top: int, scale: float) -> str:
    parts = []
    for tenth in range(int(duration_s * 10) + 1):
        x, whole = tenth / 10 * scale, tenth % 5 == 0
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + (8 if whole else 4)}"/>'
        )
        if whole:
            parts.append(
                f'<text class="tick" x="{x + 2:.1f}" y="{top + 18}">{tenth / 10:g} s</text>'
            )
    return "".join(parts)
