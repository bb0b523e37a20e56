"""A phoneme study as files for programs and for people: JSON, a Markdown table, a heat map."""

import json
from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vqspeech.analysis.bootstrap import Interval95
from vqspeech.analysis.phoneme_scores import PhoneScores
from vqspeech.analysis.phoneme_study import PhonemeStudy
from vqspeech.analysis.phones import PHONES

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def to_json(study: PhonemeStudy) -> str:
    """Write a study as JSON.

    Parameters
    ----------
    study : PhonemeStudy
        The study.

    Returns
    -------
    str
        One object whose ``with_silence`` and ``without_silence`` hold the fields of `PhoneScores`;
        ``mapping`` names a phone per code; the joint counts are left out; nan is null.
    """
    fields = asdict(study)
    del fields["counts"]
    fields["phone_set"] = list(PHONES)
    fields["mapping"] = [PHONES[phone] for phone in study.mapping]
    return json.dumps(_plain(fields), indent=2, allow_nan=False) + "\n"


def to_markdown(study: PhonemeStudy) -> str:
    """Write a study as Markdown tables, every score beside its baselines.

    Parameters
    ----------
    study : PhonemeStudy
        The study.

    Returns
    -------
    str
        Lines, the last one ended.
    """
    policies = {"with": study.with_silence, "without": study.without_silence}
    with_silence = study.with_silence
    fitted_minutes = with_silence.fitted_frames / study.frame_rate_hz / 60
    scored_minutes = with_silence.scored_frames / study.frame_rate_hz / 60
    lines = [
        f"Codes of {study.hop} samples at {study.sample_rate} Hz ({study.frame_rate_hz:g} a second), "
        f"codebook of {study.codebook_size}; phones: 39 ARPAbet and silence, the label at each "
        "frame's centre.",
        f"Fitted on {study.fitted_utterances} utterances ({fitted_minutes:.1f} min) of the train "
        f"split, scored on {study.scored_utterances} ({scored_minutes:.1f} min) of the test split. "
        "Intervals: 95 %, bootstrap over utterances.",
        "Chance: always the most frequent phone. Shuffled: codes shuffled in time within each "
        "utterance, everything fitted anew.",
        "",
        "| score | silence | codes | chance | shuffled |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, of in policies.items():
        lines.append(
            f"| map accuracy | {name} "
            f"| {_percent(of.map_accuracy)}{_interval(of.map_accuracy_interval)} "
            f"| {_percent(of.chance)} | {_percent(of.shuffled)}{_interval(of.shuffled_interval)} |"
        )
    for name, of in policies.items():
        lines.append(
            f"| phone purity | {name} | {_percent(of.phone_purity)} | {_percent(of.chance)} "
            f"| {_percent(of.phone_purity_shuffled)} |"
        )
    for score, field, chance in (
        ("cluster purity", "cluster_purity", ""),
        ("PNMI", "pnmi", _percent(0)),
        ("V-measure", "v_measure", _percent(0)),
    ):
        for name, of in policies.items():
            value, control = getattr(of, field), getattr(of, f"{field}_shuffled")
            lines.append(
                f"| {score} | {name} | {_percent(value)} | {chance} | {_percent(control)} |"
            )
    lines += [
        "",
        "| codes | with silence | without | at most |",
        "| --- | ---: | ---: | ---: |",
        _code_row("used codes", policies, "used_codes", f"{study.codebook_size}"),
        _code_row("perplexity", policies, "perplexity", f"{study.codebook_size}"),
        _code_row(
            "bit rate, bit/s", policies, "bit_rate", f"{with_silence.bit_rate_fixed:.1f} (log2 K)"
        ),
        _code_row("bit rate, runs sent once, bit/s", policies, "bit_rate_collapsed", ""),
    ]
    if study.unmapped:
        frames = sum(study.unmapped.values())
        names = ", ".join(f"`{label}`" for label in list(study.unmapped)[:10])
        lines += [
            "",
            f"Frames left out, for labels outside the phone set: {frames} "
            f"({names}{', ...' if len(study.unmapped) > 10 else ''}).",
        ]
    if study.skipped:
        lines += ["", f"Label files not read: {len(study.skipped)}; first: {study.skipped[0]}"]
    return "\n".join(lines) + "\n"


def code_order(study: PhonemeStudy) -> NDArray[np.int64]:
    """Order the codes seen in the scored split for a heat map.

    Parameters
    ----------
    study : PhonemeStudy
        The study.

    Returns
    -------
    ndarray of int64, shape (used codes,)
        By the phone a code is mapped to, in the order of `PHONES`; of one phone, the surest first.
    """
    used = np.flatnonzero(study.counts.any(axis=0))
    given = study.counts[:, used] / study.counts[:, used].sum(axis=0)
    phone = study.mapping[used]
    return used[np.lexsort((-given[phone, np.arange(len(used))], phone))]


def heat_map(study: PhonemeStudy) -> "Figure":
    """Draw P(phone | code) over the scored frames, with silence.

    Parameters
    ----------
    study : PhonemeStudy
        The study.

    Returns
    -------
    matplotlib.figure.Figure
        A row per phone, a column per used code in `code_order`. Codes that know phones make a
        diagonal; codes that do not make stripes across.
    """
    from matplotlib.figure import Figure

    order = code_order(study)
    given = study.counts[:, order] / study.counts[:, order].sum(axis=0)
    figure = Figure(figsize=(12, 7), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        given, aspect="auto", interpolation="nearest", cmap="magma_r", vmin=0, vmax=1
    )
    axes.set_yticks(range(len(PHONES)), PHONES, fontsize=7)
    groups, first, sizes = np.unique(study.mapping[order], return_index=True, return_counts=True)
    axes.set_xticks(
        first + (sizes - 1) / 2, [PHONES[group] for group in groups], fontsize=7, rotation=90
    )
    for edge in first[1:]:
        axes.axvline(edge - 0.5, color="0.8", linewidth=0.5)
    axes.set_xlabel(
        f"{len(order)} used codes of {study.codebook_size}, by the phone they are mapped to"
    )
    axes.set_ylabel("phone")
    of = study.with_silence
    axes.set_title(
        f"P(phone | code): map accuracy {_percent(of.map_accuracy)}, chance {_percent(of.chance)}, "
        f"shuffled {_percent(of.shuffled)}",
        fontsize=10,
    )
    figure.colorbar(image, ax=axes, pad=0.01)
    return figure


def _code_row(title: str, policies: dict[str, PhoneScores], field: str, most: str) -> str:
    values = [getattr(of, field) for of in policies.values()]
    cells = ["-" if isnan(v) else f"{v}" if isinstance(v, int) else f"{v:.1f}" for v in values]
    return f"| {title} | {' | '.join(cells)} | {most} |"


def _percent(share: float) -> str:
    return "-" if isnan(share) else f"{100 * share:.1f} %"


def _interval(interval: Interval95) -> str:
    return (
        "" if isnan(interval.low) else f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and isnan(value) else value
