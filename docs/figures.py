"""Draws the pictures of these pages.

``python docs/figures.py codes STORE OUT.png [MODEL]``: codes of a sentence under its spectrogram and its phones. Takes
the first test utterance of a store with phone labels, such as that of ``vqspeech prepare --corpus mini --out STORE``. A
code has the colour of the phone that most of its training frames have.

``python docs/figures.py curve RUN OUT.png``: what training said of held-out speech, from ``curve.jsonl`` of its folder.
"""

import json
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
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.report.picture import colour

SPAN_S = (0.3, 1.4)
TRAINING = 80


def aligned(
    store: PackedStore, model: Autoencoder, index: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return a recording, its codes and the phone at the centre of each."""
    row, wav = store.utterances[index], store.wav(index)
    codes = model.encode(wav).numpy()
    times_s = frame_centres_s(len(codes), model.hop, store.sample_rate, row.start_s)
    return wav, codes, [to_arpabet(label) for label in labels_at(read_labels(row.labels), times_s)]


def rgb(phone: str) -> tuple[float, float, float]:
    """Return the colour that pages give a phone."""
    hue, saturation, lightness = (
        map(int, re.findall(r"\d+", colour(phone))) if "hsl" in colour(phone) else (0, 2, 79)
    )
    return hls_to_rgb(hue / 360, lightness / 100, saturation / 100)


def draw_codes(folder: str, out: str, name: str = "vctk") -> None:
    """Draw codes under spectrogram and phones."""
    store, model = PackedStore(Path(folder)), vqspeech.load(name)
    rate = store.sample_rate
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    for index in store.indices("train")[:TRAINING]:
        for code, phone in zip(*aligned(store, model, int(index))[1:], strict=True):
            counts[int(code)][phone] += 1
    wav, codes, phones = aligned(store, model, int(store.indices("test")[0]))
    first, last = (round(second * rate / model.hop) for second in SPAN_S)
    figure, (above, middle, below) = plt.subplots(
        3, sharex=True, figsize=(11, 4.2), height_ratios=(5, 1, 1), layout="constrained"
    )
    dithered = wav + 1e-5 * np.random.default_rng(0).normal(size=len(wav))
    window = 512 * rate // 16000
    above.specgram(
        dithered, NFFT=window, Fs=rate, noverlap=window * 27 // 32, cmap="Greys", vmin=-120
    )
    above.set(ylim=(0, min(6000, rate / 2)), ylabel="Hz", xlim=SPAN_S)
    begin = first
    for end in range(first + 1, last + 1):
        if end == last or phones[end] != phones[begin]:
            left, right = begin * model.hop / rate, end * model.hop / rate
            middle.axvspan(left, right, color=rgb(phones[begin]), ec="white", lw=0.8)
            middle.text(
                (left + right) / 2, 0.5, phones[begin], ha="center", va="center", fontsize=9
            )
            begin = end
    for frame in range(first, last):
        left, right = frame * model.hop / rate, (frame + 1) * model.hop / rate
        (phone, _), *_ = counts[int(codes[frame])].most_common(1) or [("sil", 0)]
        below.axvspan(left, right, color=rgb(phone), ec="white", lw=0.3)
        place = ((left + right) / 2, 0.5)
        below.text(*place, codes[frame], ha="center", va="center", fontsize=6, rotation=90)
    middle.set(yticks=[], ylabel="phones")
    below.set(yticks=[], ylabel="codes", xlabel="seconds")
    figure.savefig(out, dpi=130)


def draw_curve(folder: str, out: str) -> None:
    """Draw bits a sample over steps: of training, and of held-out speech with its codes in order and shuffled."""
    rows = [json.loads(line) for line in (Path(folder) / "curve.jsonl").read_text().splitlines()]
    learned = [row for row in rows if row.get("nats_per_sample")]
    valid = [row for row in rows if "valid_bits_per_sample" in row]
    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    bits = [row["nats_per_sample"] / np.log(2) for row in learned]
    axes.plot([row["step"] for row in learned], bits, color="0.8", lw=0.8, label="training")
    steps = [row["step"] for row in valid]
    for key, label, style in (
        ("valid_bits_per_sample", "held out", "C0o-"),
        ("valid_shuffled_bits", "held out, codes shuffled", "C1x--"),
    ):
        axes.plot(steps, [row[key] for row in valid], style, label=label)
    axes.axhline(valid[-1]["valid_unigram_bits"], color="0.5", ls=":", label="levels alone")
    axes.set(xlabel="steps", ylabel="bits a sample", ylim=(3, 8.2))
    axes.legend()
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    {"codes": draw_codes, "curve": draw_curve}[sys.argv[1]](*sys.argv[2:])
