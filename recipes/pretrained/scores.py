"""Scores of a model's header as Markdown tables, each figure with what stands beside it.

``held_out`` is what training writes at its end, ``evaluation`` what ``vqspeech evaluate`` wrote, without single
recordings; anything else is laid out as it comes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

ABSENT = "-"

ROWS = {
    "source": "source untouched",
    "real": "real target",
    "mulaw": "µ-law round trip",
    "made": "made by the model",
}
"""Recordings that stand beside each other in an evaluation."""

COLUMNS = {
    "recordings": "recordings",
    "to_target": "to target",
    "to_source": "to source",
    "nearest_is_target": "nearest is target",
    "word_error": "word error",
    "semitones": "F0 from target, semitones",
    "strength": "voicing",
    "overall": "DNSMOS",
    "mcd_db": "distortion, dB",
}
"""Fields that a card shows of a row."""

PRIOR_ROWS = {"nobody": "prior, speaker not told", "prior": "**prior**"}
"""Models of codes that a card shows, where their names are not enough."""

READING = (
    "To target, to source: cosine of speaker vectors to those of the speakers. Nearest is target: how often no other"
    " speaker is nearer. In brackets 95 % intervals."
)


def scores(of: Mapping[str, Any]) -> str:
    """Lay out every score that a file holds."""
    rest = dict(of)
    trained, judged = rest.pop("held_out", None), rest.pop("evaluation", None) or {}
    lines: list[str] = []
    # the same figures, of what is shipped instead of what was trained
    held = judged.get("likelihood") or trained
    if held:
        lines += ["### Likelihood", "", likelihood(held), ""]
    if judged:
        lines += evaluation(judged)
    if rest:
        lines += ["### More", "", facts(flat(rest)), ""]
    return "\n".join(lines).rstrip() or "It has not been scored."


def evaluation(of: Mapping[str, Any]) -> list[str]:
    """Lay out what ``vqspeech evaluate`` found: how, a table for each group of recordings, phones, remarks.

    Its likelihood is left to `scores`.
    """
    apart = ("groups", "phones", "remarks", "likelihood")
    lines = ["### Evaluation", ""]
    lines += [facts(flat({key: value for key, value in of.items() if key not in apart})), ""]
    groups = of.get("groups") or []
    if groups:
        lines += [READING, ""]
    for group in groups:
        lines += [f"#### {group['kind'].capitalize()}: {group['group']}", ""]
        lines += [group_table(group["rows"]), ""]
    if of.get("phones"):
        lines += ["#### Phones", "", phone_table(of["phones"]), ""]
    lines += [f"- {remark}" for remark in of.get("remarks") or []]
    return [*lines, ""]


def group_table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out rows that stand beside each other; what was measured of none of them has no column."""
    there = {name: row for name, row in rows.items() if row.get("recordings")}
    columns = [key for key in COLUMNS if any(row.get(key) is not None for row in there.values())]
    return table(
        ["", *(COLUMNS[key] for key in columns)],
        [
            [ROWS.get(name, name), *(with_interval(row, key) for key in columns)]
            for name, row in there.items()
        ],
    )


def phone_table(phones: Mapping[str, Mapping[str, Any]]) -> str:
    """Lay out how well codes stand for phones."""
    rows = []
    for name, of in phones.items():
        row = [name, number(of["frame_rate_hz"]), number(of["codebook_size"])]
        for policy in ("without_silence", "with_silence"):
            found = of[policy]
            row.append(
                f"{with_interval(found, 'map_accuracy')} (chance {percent(found['chance'])},"
                f" codes shuffled {percent(found['shuffled'])})"
            )
        rows.append(row)
    head = ["map accuracy", "codes/s", "codes", "without silence", "with silence"]
    return table(head, rows)


def with_interval(of: Mapping[str, Any], key: str) -> str:
    """Write a figure; a share in percent, with its interval where there is one."""
    value = of.get(key)
    if key not in ("nearest_is_target", "word_error", "map_accuracy"):
        return number(value)
    interval = of.get({"nearest_is_target": "nearest_interval"}.get(key, f"{key}_interval"))
    if value is None or not interval or None in interval:
        return percent(value)
    return f"{percent(value)} [{100 * interval[0]:.0f}, {100 * interval[1]:.0f}]"


def percent(share: float | None) -> str:
    """Write a share."""
    return ABSENT if share is None else f"{100 * share:.1f} %"


def likelihood(of: Mapping[str, Any]) -> str:
    """Likelihood and use of the codebook on a held-out split."""
    rows = [
        (
            f"nats a sample ({of['bits_per_sample']:.3f} bits)",
            number(of["nats_per_sample"]),
            f"{number(nats(of['shuffled_bits']))} codes shuffled in time, {number(nats(of['unigram_bits']))}"
            f" unigram, {number(nats(of['uniform_bits']))} uniform",
        ),
        (
            "nats lost when its codes are shuffled in time",
            number(nats(of["shuffled_bits"] - of["bits_per_sample"])),
            "0 when the decoder does not listen to them",
        ),
        ("codes used", number(of["used_codes"]), f"{of['codebook_size']} in the codebook"),
        ("perplexity", number(of["perplexity"]), f"{of['codebook_size']} when used evenly"),
    ]
    return "\n".join(
        [
            f"Held out, split `{of['split']}`: {of['utterances']} utterances,"
            f" {of['seconds'] / 60:.1f} minutes.",
            "",
            table(["", "found", "beside"], rows),
        ]
    )


def prior_tables(figures: Mapping[str, Any]) -> str:
    """Lay out what ``prior_figures.py`` found, or no more than the likelihood of held-out codes."""
    bits = figures["held_out"]
    names = ("uniform", "unigram", "bigram", "trigram", "nobody", "prior")
    parts = [
        f"Held out, split `{bits['split']}`: {bits['codes']:,} codes of {bits['sequences']} utterances.",
        table(
            ["", "bits a code", "bits a second"],
            [
                [PRIOR_ROWS.get(n, n), number(bits[n]), number(bits[n] * bits["codes_a_second"])]
                for n in names
            ],
        ),
    ]
    if "likeness" in figures:
        head = ["", "unigrams", "bigrams", "trigrams of classes", "of classes 5 frames apart"]
        head.append("bits of a trigram model")
        parts += [
            "What it draws, beside as many codes of other origin: Jensen-Shannon divergence from the held-out codes, in"
            " bits, and the bits a code that a trigram model of real speech takes.",
            table(
                head, [[n, *map(number, row.values())] for n, row in figures["likeness"].items()]
            ),
        ]
    if "heard" in figures:
        head = ["", "recordings", "log-probability of a token", "no speech", "words/s"]
        rows = [
            [
                name,
                number(row["recordings"]),
                f"{row['confidence']:.2f} ± {row['error']:.2f}",
                number(row["no_speech"]),
                number(row["words_a_second"]),
            ]
            for name, row in figures["heard"].items()
        ]
        parts += ["How sure a recogniser is that it hears words:", table(head, rows)]
    return "\n\n".join(parts)


def flat(of: Mapping[str, Any], before: str = "") -> dict[str, str]:
    """Write values of any shape under the words that lead to them."""
    found: dict[str, str] = {}
    for key, value in of.items():
        name = f"{before} {key.replace('_', ' ')}".strip()
        found |= flat(value, name) if isinstance(value, Mapping) else {name: plain(value)}
    return found


def plain(value: Any) -> str:
    """Write a value into one cell of a table."""
    if isinstance(value, list):
        value = ", ".join(map(plain, value))
    return number(value).replace("|", "\\|").replace("\n", " ")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table; all columns but the first are to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def facts(of: Mapping[str, str]) -> str:
    """Lay out names and what they name as a Markdown table without a head."""
    return "\n".join(["| | |", "| --- | --- |", *(f"| {key} | {of[key]} |" for key in of)])


def number(value: Any) -> str:
    """Write a score; what is no number as it is, what is not there as a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ABSENT
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def nats(bits: float | None) -> float | None:
    """Bits as nats."""
    return None if bits is None else bits * math.log(2)
