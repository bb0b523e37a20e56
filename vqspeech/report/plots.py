"""Pictures of a study, each with its baseline in it; matplotlib Figure objects, never pyplot.

Figures are made for a page of 1000 pixels and keep a white ground, so that they read the same in
light and dark surroundings.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.phoneme_study import PhonemeStudy
from vqspeech.analysis.study import SystemStudy
from vqspeech.labels.phones import PHONES
from vqspeech.metrics.contingency import contingency, shuffle_within
from vqspeech.metrics.phoneme_scores import UNKNOWN
from vqspeech.metrics.probes import histograms, speaker_leakage
from vqspeech.report.document import paragraph, percent, png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAIN, _BASE = "#1f5fa8", "#c2571a"


class Control(NamedTuple):
    """Codes of the scored split shuffled in time within each utterance, and their frames by phone and code."""

    codes: Sequence[NDArray[np.int64]]
    counts: NDArray[np.int64]


class Plot(NamedTuple):
    """A picture that can be drawn of a model: how, its title, and how it is read."""

    draw: Callable[[SystemStudy, Control], "Figure"]
    title: str
    reading: str


def figures(study: SystemStudy) -> dict[str, "Figure"]:
    """Draw all of `PLOTS`, by their keys, from one shuffling of the codes."""
    test = study.aligned.test
    codes = shuffle_within([part.codes for part in test], np.random.default_rng(0))
    phones = np.concatenate([part.phones for part in test])
    known = phones != UNKNOWN
    size = study.system.codebook_size
    counts = contingency(phones[known], np.concatenate(codes)[known], len(PHONES), size)
    return {key: plot.draw(study, Control(codes, counts)) for key, plot in PLOTS.items()}


def pictures(study: SystemStudy) -> dict[str, bytes]:
    """Draw all of `PLOTS` as PNG files.

    Parameters
    ----------
    study : SystemStudy
        What was found of a model.

    Returns
    -------
    dict of str to bytes
        By the keys of `PLOTS`.
    """
    return {key: png(figure) for key, figure in figures(study).items()}


def code_order(study: PhonemeStudy) -> NDArray[np.int64]:
    """Order the used codes by the phone each is mapped to, in the order of `PHONES`; of one phone, the surest first."""
    used = np.flatnonzero(study.counts.any(axis=0))
    given = study.counts[:, used] / study.counts[:, used].sum(axis=0)
    phone = study.mapping[used]
    return used[np.lexsort((-given[phone, np.arange(len(used))], phone))]


def _heat_map(study: SystemStudy, shuffled: Control) -> "Figure":
    """P(phone | code) over the scored frames, with silence: a row per phone, a column per used code."""
    phonemes = study.phonemes
    order = code_order(phonemes)
    figure = _figure(10, 6)
    axes, control = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    for place, counts in ((axes, phonemes.counts), (control, shuffled.counts)):
        given = counts[:, order] / np.maximum(counts[:, order].sum(axis=0), 1)
        image = place.imshow(
            given, aspect="auto", interpolation="nearest", cmap="magma_r", vmin=0, vmax=1
        )
    axes.set_yticks(range(len(PHONES)), PHONES, fontsize=7)
    groups, first, sizes = np.unique(phonemes.mapping[order], return_index=True, return_counts=True)
    names = [PHONES[group] for group in groups]
    axes.set_xticks(first + (sizes - 1) / 2, names, fontsize=7, rotation=90)
    for edge in first[1:]:
        axes.axvline(edge - 0.5, color="0.8", linewidth=0.5)
    axes.set_xlabel(
        f"{len(order)} used codes of {phonemes.codebook_size}, by the phone they are mapped to"
    )
    axes.set_ylabel("phone")
    control.set_xticks([])
    control.set_xlabel("the same codes")
    of = phonemes.with_silence
    axes.set_title(
        f"P(phone | code): map accuracy {percent(of.map_accuracy)}, chance {percent(of.chance)}",
        fontsize=10,
    )
    control.set_title(f"shuffled: {percent(of.shuffled)}", fontsize=10)
    figure.colorbar(image, ax=control, pad=0.03)
    return figure


def _confusions(study: SystemStudy, counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Shares of the frames of each phone (row) whose code stands for each phone (column); 0 where it has none."""
    taken = np.zeros((len(PHONES), len(PHONES)))
    np.add.at(taken.T, study.phonemes.mapping, counts.T)
    return taken / np.maximum(taken.sum(axis=1, keepdims=True), 1)


def _confusion(study: SystemStudy, shuffled: Control) -> "Figure":
    """What phones are taken for when each code stands for its phone; rows sum to 1."""
    figure = _figure(10, 5.2)
    axes, control = figure.subplots(1, 2, sharey=True)
    for place, counts in ((axes, study.phonemes.counts), (control, shuffled.counts)):
        image = place.imshow(_confusions(study, counts), cmap="magma_r", vmin=0, vmax=1)
        place.set_xticks(range(len(PHONES)), PHONES, fontsize=6, rotation=90)
        place.set_xlabel("phone the code stands for")
    axes.set_yticks(range(len(PHONES)), PHONES, fontsize=6)
    axes.set_ylabel("phone said")
    axes.set_title("codes", fontsize=10)
    control.set_title("codes shuffled in time", fontsize=10)
    figure.colorbar(image, ax=control, pad=0.02)
    return figure


def _phone_accuracy(study: SystemStudy, shuffled: Control) -> "Figure":
    """Map accuracy of each phone, best first, with the number of its frames below it."""
    counts = study.phonemes.counts
    frames = counts.sum(axis=1)
    seen = np.flatnonzero(frames)
    codes, control = (np.diag(_confusions(study, of))[seen] for of in (counts, shuffled.counts))
    order = np.argsort(-codes, kind="stable")
    figure = _figure(10, 3.8)
    axes = figure.add_subplot()
    axes.bar(range(len(seen)), 100 * codes[order], color=_MAIN, label="codes")
    label = "codes shuffled in time"
    axes.plot(range(len(seen)), 100 * control[order], "D", color=_BASE, markersize=4, label=label)
    axes.set_xticks(range(len(seen)), [f"{PHONES[phone]}\n" for phone in seen[order]], fontsize=8)
    for place, phone in enumerate(seen[order]):
        axes.annotate(
            f"{frames[phone]}",
            (place, 0),
            xytext=(0, -16),
            textcoords="offset points",
            ha="center",
            va="top",
            rotation=90,
            fontsize=6,
            color="0.35",
            annotation_clip=False,
        )
    axes.set_xlabel("phone, with the number of its frames", labelpad=16)
    axes.set_ylabel("map accuracy, %")
    axes.margins(x=0.01)
    axes.legend(frameon=False)
    return figure


def _durations(study: SystemStudy, shuffled: Control) -> "Figure":
    """How long runs of one code last, beside phones; what is longer than 300 ms is in the last bin."""
    test = study.aligned.test
    frame_ms = 1000 / study.system.frame_rate_hz
    bins = np.arange(0.5, max(2.0, 300 / frame_ms) + 1)
    figure = _figure(10, 3.4)
    axes = figure.add_subplot()
    for sequences, colour, label in (
        ([part.codes for part in test], _MAIN, "codes"),
        ([part.phones for part in test], "0.45", "phones"),
        (shuffled.codes, _BASE, "codes shuffled in time"),
    ):
        lengths = np.concatenate([_run_lengths(sequence) for sequence in sequences])
        shares = np.histogram(np.minimum(lengths, bins[-1] - 0.5), bins)[0] / len(lengths)
        name = f"{label}: mean {lengths.mean() * frame_ms:.0f} ms"
        axes.stairs(100 * shares, bins * frame_ms, color=colour, linewidth=1.8, label=name)
    axes.set_xlabel(f"duration, ms (a code is {frame_ms:g} ms; the last bin holds all longer ones)")
    axes.set_ylabel("share of runs, %")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return figure


def _usage(study: SystemStudy, _: Control) -> "Figure":
    """How often each code is used on the scored split, sorted, beside even use; logarithmic."""
    size = study.system.codebook_size
    codes = np.concatenate([part.codes for part in study.aligned.test])
    shares = np.sort(np.bincount(codes, minlength=size))[::-1] / len(codes)
    used = int((shares > 0).sum())
    figure = _figure(10, 3.2)
    axes = figure.add_subplot()
    axes.semilogy(
        range(1, used + 1), 100 * shares[:used], color=_MAIN, linewidth=1.8, label="codes, sorted"
    )
    axes.axhline(100 / size, color=_BASE, linestyle="--", label=f"even use of all {size}")
    for axis in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "125" else "")
    axes.set_xlim(0.5, size + 0.5)
    axes.set_xlabel(f"rank of the code; {used} of {size} are used")
    axes.set_ylabel("share of frames, %")
    axes.legend(frameon=False)
    return figure


def _leakage(study: SystemStudy, _: Control) -> "Figure":
    """P(code | speaker) over P(code), logarithmic, beside speakers dealt out anew over the utterances."""
    found = study.leakage
    table = histograms([part.codes for part in study.aligned.test], study.system.codebook_size)
    dealt = np.random.default_rng(0).permutation(np.array(study.speakers))
    control = speaker_leakage(table, list(dealt))
    names = found.speakers
    figure = _figure(10, 1.8 + 0.2 * min(len(names), 30))
    places = figure.subplots(1, 2, sharey=True)
    for place, counts in zip(places, (found.counts, control.counts), strict=True):
        counts = counts[:, counts.sum(axis=0) > 0]
        expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
        # One frame more on both sides keeps rare codes from looking sure.
        ratio = np.log2((counts + 1) / (expected + 1))
        order = np.lexsort((-ratio.max(axis=0), ratio.argmax(axis=0)))
        image = place.imshow(
            ratio[:, order], aspect="auto", interpolation="nearest", cmap="RdBu_r", vmin=-3, vmax=3
        )
        place.set_xticks([])
        place.set_xlabel("codes, by the speaker they favour")
    places[0].set_yticks(range(len(names)), names, fontsize=8 if len(names) <= 30 else 4)
    places[0].set_ylabel("speaker")
    places[0].set_title(f"leakage {percent(found.share)}", fontsize=10)
    places[1].set_title(f"utterances dealt out anew: {percent(found.shuffled)}", fontsize=10)
    bar = figure.colorbar(image, ax=places[1], pad=0.03, ticks=(-3, -1, 1, 3))
    bar.ax.set_yticklabels(("1/8", "1/2", "2", "8"))
    bar.set_label("times as often\nas by all", fontsize=8)
    return figure


PLOTS = {
    key: Plot(draw, title, paragraph("analysis.txt", f"plot_{key}"))
    for key, draw, title in (
        ("phones", _heat_map, "P(phone | code)"),
        ("confusion", _confusion, "What phones are taken for"),
        ("accuracy", _phone_accuracy, "Accuracy of each phone"),
        ("durations", _durations, "How long a code lasts"),
        ("usage", _usage, "Use of the codebook"),
        ("leakage", _leakage, "Codes and speakers"),
    )
}
"""What is drawn of a model."""


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")


def _run_lengths(sequence: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    values = np.asarray(sequence)
    edges = np.flatnonzero(np.diff(values)) + 1
    return np.diff(np.concatenate(([0], edges, [len(values)])))
