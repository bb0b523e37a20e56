"""Draws `docs/img/codes.png`: codes of a sentence under its spectrogram and its phones.

``python docs/figures.py STORE OUT.png`` takes the first test utterance of a store with phone labels, such as that of
``vqspeech prepare --corpus mini --out STORE``. A code has the colour of the phone that most of its training frames
have.
"""

import re
import sys
from collections import Counter, defaultdict
from colorsys import hls_to_rgb
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import vqspeech
from vqspeech.corpus.store import PackedStore
from vqspeech.labels.files import read_labels
from vqspeech.labels.frames import frame_centres_s, labels_at, to_arpabet
from vqspeech.report.picture import colour

SPAN_S = (0.3, 1.4)
TRAINING = 80

store, model = PackedStore(Path(sys.argv[1])), vqspeech.load("vctk")
rate = model.config.sample_rate


def aligned(index: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a recording, its codes and the phone at the centre of each."""
    row, wav = store.utterances[index], store.wav(index)
    codes = model.encode(wav).numpy()
    times_s = frame_centres_s(len(codes), model.hop, rate, row.start_s)
    return wav, codes, [to_arpabet(label) for label in labels_at(read_labels(row.labels), times_s)]


def rgb(phone: str) -> tuple[float, float, float]:
    """Return the colour that pages give a phone."""
    hue, saturation, lightness = (
        map(int, re.findall(r"\d+", colour(phone))) if "hsl" in colour(phone) else (0, 2, 79)
    )
    return hls_to_rgb(hue / 360, lightness / 100, saturation / 100)


counts: dict[int, Counter[str]] = defaultdict(Counter)
for index in store.indices("train")[:TRAINING]:
    for code, phone in zip(*aligned(int(index))[1:], strict=True):
        counts[int(code)][phone] += 1
wav, codes, phones = aligned(int(store.indices("test")[0]))
first, last = (round(second * rate / model.hop) for second in SPAN_S)
figure, (above, middle, below) = plt.subplots(
    3, sharex=True, figsize=(11, 4.2), height_ratios=(5, 1, 1), layout="constrained"
)
dithered = wav + 1e-5 * np.random.default_rng(0).normal(size=len(wav))
above.specgram(dithered, NFFT=512, Fs=rate, noverlap=432, cmap="Greys", vmin=-120)
above.set(ylim=(0, 6000), ylabel="Hz", xlim=SPAN_S)
begin = first
for end in range(first + 1, last + 1):
    if end == last or phones[end] != phones[begin]:
        left, right = begin * model.hop / rate, end * model.hop / rate
        middle.axvspan(left, right, color=rgb(phones[begin]), ec="white", lw=0.8)
        middle.text((left + right) / 2, 0.5, phones[begin], ha="center", va="center", fontsize=9)
        begin = end
for frame in range(first, last):
    left, right = frame * model.hop / rate, (frame + 1) * model.hop / rate
    (phone, _), *_ = counts[int(codes[frame])].most_common(1) or [("sil", 0)]
    below.axvspan(left, right, color=rgb(phone), ec="white", lw=0.3)
    below.text(
        (left + right) / 2, 0.5, codes[frame], ha="center", va="center", fontsize=6, rotation=90
    )
middle.set(yticks=[], ylabel="phones")
below.set(yticks=[], ylabel="codes", xlabel="seconds")
figure.savefig(sys.argv[2], dpi=130)
