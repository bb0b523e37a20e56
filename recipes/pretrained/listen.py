r"""Hold models and pitch contours against each other: the same utterances spoken by every row, judged, on a page.

A row is a model, and with a colon the contour it follows: that of the source (the default), the one predicted or
drawn from codes and speaker, and wrong ones: an octave off, unvoiced throughout, 20 % of noise on every value.

    python recipes/pretrained/listen.py --store STORE --voices bdl,slt --targets p225,p226 --out DIR \
        before=old.safetensors with=vctk alone=vctk:predicted high=vctk:octave-up
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, exit_status
from vqspeech.evaluation.encoded import EncodedStore
from vqspeech.evaluation.figures import summarise
from vqspeech.evaluation.judges import DISTORTION, open_judges
from vqspeech.evaluation.judging import Judged, judge
from vqspeech.evaluation.speaking import Spoken
from vqspeech.evaluation.trials import CONVERSION, RECONSTRUCTION, Plan, Trial, make_plan
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.progress import Progress
from vqspeech.metrics.bootstrap import interval_95
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model
from vqspeech.models.decoding import Request
from vqspeech.report.document import TEMPLATES, Cell, Table, json_text, markdown_table, percent
from vqspeech.report.evaluation import EXCERPT_S, Recording, in_words
from vqspeech.sampling.engine import DEFAULT

NOISE = 0.2
"""Deviation of a noisy contour from the source's, as a share, of every frame by itself."""

EXAMPLES = 12
"""Trials on the page."""


def _noisy(contour: Tensor) -> Tensor:
    noise = torch.randn(contour.shape, generator=torch.Generator().manual_seed(0))
    return contour * (1 + NOISE * noise).clamp(min=0.1)


WRONG: dict[str, Callable[[Tensor], Tensor]] = {
    "source": lambda contour: contour,
    "octave-up": lambda contour: 2 * contour,
    "octave-down": lambda contour: contour / 2,
    "unvoiced": torch.zeros_like,
    "noisy": _noisy,
}
"""What becomes of the source's contour, by name; ``predicted`` and ``drawn`` stand beside them."""


PREDICTED: dict[str, int | None] = {"predicted": None, "drawn": 0}
"""Contours of codes and speaker alone, and the seed of a draw."""

# rows of one model share it, and what it encodes
_open = cache(load_model)


@dataclass(frozen=True)
class Row:
    """A model and the contour it follows."""

    name: str
    model: Autoencoder
    contour: str

    @classmethod
    def parse(cls, text: str) -> "Row":
        """Read ``NAME=MODEL[:CONTOUR]``; `VqspeechError` where the model cannot be read or there is no such contour."""
        name, _, of = text.partition("=")
        path, _, contour = of.partition(":")
        if not path:
            raise ConfigurationError(f"{text}: a row is NAME=MODEL or NAME=MODEL:CONTOUR")
        if contour not in ("", *PREDICTED, *WRONG):
            raise ConfigurationError(
                f"{text}: contours are {', '.join(PREDICTED)}, {', '.join(WRONG)}"
            )
        return cls(name, _open(path), contour or "source")

    def request(
        self, encoded: EncodedStore, tracked: EncodedStore, trial: Trial, seed: int
    ) -> Request:
        """What is decoded for a trial, of codes of its own model and the contour that was `tracked` once for all."""
        codes, contour = encoded.encoding(trial.index).conditioning, None
        if self.contour in PREDICTED:
            contour = self.model.contour(codes, trial.target, seed=PREDICTED[self.contour])
        elif self.model.decoder.pitch is not None:
            of_source = tracked.contour(trial.index)
            contour = WRONG[self.contour](self.model.contour(codes, trial.target, of_source))
        samples = encoded.store.utterances[trial.index].samples
        return Request(codes, trial.target, samples, seed, contour)


@dataclass(frozen=True, eq=False)
class Example:
    """One trial as every row speaks it; what the page of an evaluation shows."""

    title: str
    judged: Judged
    players: Sequence[Recording]

    def recordings(self) -> Iterator[Recording]:
        """The source, then every row."""
        return iter(self.players)


def speak(
    rows: Sequence[Row], tracked: EncodedStore, trials: Sequence[Trial], seed: int = 0
) -> list[np.ndarray]:
    """Decode all trials of the first row, then of the next: float32, (samples,) each."""
    found, store = [], tracked.store
    encoded = {tracked.model: tracked}
    samples = sum(store.utterances[trial.index].samples for trial in trials)
    with Progress(len(rows) * samples, "samples", "speaking") as bar:
        for number, row in enumerate(rows):
            own = encoded.setdefault(row.model, EncodedStore(row.model, store))
            requests = [row.request(own, tracked, trial, seed) for trial in trials]

            def report(done: int, _: int, before: int = number * samples) -> None:
                bar.update(before + done - bar.done)

            made = dict(row.model.decode_many(requests, DEFAULT, report))
            found += [made[place].numpy() for place in range(len(trials))]
    return found


def groups(judged: Sequence[Judged]) -> dict[str, list[int]]:
    """Places of trials by what is compared: each target in own voice and from others, and all together."""
    found: dict[str, list[int]] = {"all": list(range(len(judged)))}
    for place, of in enumerate(judged):
        trial = of.trial
        if trial.kind == CONVERSION:
            name = "anyone to another voice"
        elif trial.kind == RECONSTRUCTION:
            name = f"{trial.target}, own voice"
        else:
            name = f"{trial.source} to {trial.target}"
        found.setdefault(name, []).append(place)
    return found


def table(title: str, rows: dict[str, Sequence[Judged]]) -> Table:
    """Lay out a group, the first of the rows being what words are compared with, utterance by utterance."""
    first = next(iter(rows.values()))
    lines = {}
    draw = np.random.default_rng(0)
    drawn = draw.integers(len(first), size=(1000, len(first)))
    edits = np.array([[of.figures["made"].edits for of in row] for row in rows.values()])
    words = np.array([of.figures["made"].words for of in first])
    shares = edits[:, drawn].sum(-1) / np.maximum(words[drawn].sum(-1), 1)
    recordings = summarise([of.figures["source"] for of in first])
    real = summarise([of.figures["real"] for of in first if "real" in of.figures])
    # a reconstruction's target is its source, and its real row another recording
    summaries = [summarise([of.figures["made"] for of in row]) for row in rows.values()]
    for number, (name, made) in enumerate(zip(rows, summaries, strict=True)):
        low, high = interval_95(shares[number] - shares[0])
        more = made.word_error - summaries[0].word_error
        text = f"{100 * more:+.1f} [{100 * low:+.1f} to {100 * high:+.1f}]" if number else "-"
        lines[name] = {
            "words lost": Cell.share(made.word_error, "", made.word_error_interval),
            "points more than the first": Cell(more, text),
            "voicing strength": Cell.number(made.strength, 3),
            "of the target's": Cell.share(made.strength / real.strength),
            "voiced (pYIN)": Cell.share(1 - made.unvoiced),
            "jitter": Cell.number(made.jitter, 3),
            "harmonics to noise, dB": Cell.number(made.hnr_db, 1),
            "F0 with source": Cell.number(made.f0_correlation, 2),
            "nearest": Cell.share(made.nearest_is_target, "", made.nearest_interval),
            "DNSMOS": Cell.number(made.overall, 2),
        }
    note = (
        f"{len(first)} utterances, {words.sum()} words. Sources: words lost {percent(recordings.word_error)},"
        f" voicing strength {recordings.strength:.3f}, DNSMOS {recordings.overall:.2f}; recordings of the targets:"
        f" voicing strength {real.strength:.3f}, voiced {percent(1 - real.unvoiced)}."
    )
    return Table(title, note, lines, head="row")


@exit_status("listen")
def main() -> None:
    """Speak, judge, print the tables and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, metavar="DIR")
    parser.add_argument("--split", default="test", choices=("valid", "test"))
    parser.add_argument("--voices", default="", metavar="NAMES", help="own voices, and in pairs")
    parser.add_argument(
        "--targets", default="", metavar="NAMES", help="whom anyone is converted to"
    )
    parser.add_argument("--utterances", type=int, default=12, metavar="N", help="of each group")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another is another take")
    parser.add_argument("--out", type=Path, metavar="DIR", help="listen.md, .json and .html")
    parser.add_argument("rows", nargs="+", metavar="NAME=MODEL[:CONTOUR]")
    args = parser.parse_args()
    rows = [Row.parse(text) for text in args.rows]
    store = PackedStore(args.store)
    voices, targets = (set(of.split(",")) - {""} for of in (args.voices, args.targets))
    plan = make_plan(
        store,
        rows[0].model.speakers,
        split=args.split,
        targets=sorted(targets),
        count=args.utterances,
    )
    trials = [t for t in plan.trials if t.kind == CONVERSION or {t.source, t.target} <= voices]
    judges = open_judges([DISTORTION], None)
    encoded = EncodedStore(rows[0].model, store)
    wavs = speak(rows, encoded, trials, args.seed)
    levels = rows[0].model.config.levels
    whole: Plan = replace(plan, trials=tuple(trials) * len(rows))
    judged = judge(judges, store, whole, Spoken(tuple(wavs), 0, 0), levels, encoded.contour)
    count = len(trials)
    of_row = {row.name: judged[n * count : (n + 1) * count] for n, row in enumerate(rows)}
    tables = [
        table(title, {name: [of[i] for i in places] for name, of in of_row.items()})
        for title, places in groups(judged[:count]).items()
    ]
    text = "\n".join(line for of in tables for line in markdown_table(of))
    print(text)
    if args.out:
        players = {name: wavs[n * count : (n + 1) * count] for n, name in enumerate(of_row)}
        examples = []
        for place in np.linspace(0, count - 1, min(EXAMPLES, count)).astype(int).tolist():
            of = judged[place]
            source = Recording("source untouched", store.wav(of.trial.index), of.figures["source"])
            made = [
                Recording(name, own[place], of_row[name][place].figures["made"])
                for name, own in players.items()
            ]
            title = f"{of.trial.source} → {of.trial.target}, {of.utterance}"
            examples.append(Example(title, of, [source, *made]))
        page = TEMPLATES.get_template("evaluation.html").render(
            headlines={},
            lead=f"Rows: {', '.join(args.rows)}. {args.split} split.",
            remarks=(),
            tables=tables,
            baselines=set(),
            examples=examples,
            in_words=in_words,
            sample_rate=store.sample_rate,
            excerpt_s=EXCERPT_S,
        )
        files = {
            "listen.md": text,
            "listen.html": page,
            "listen.json": json_text(_plain(tables), 1),
        }
        for name, content in files.items():
            write_file(args.out / name, content)


def _plain(tables: Sequence[Table]) -> dict[str, dict[str, dict[str, float]]]:
    """Values of tables by title, row and column."""
    return {
        of.title: {
            row: {column: cell.value for column, cell in cells.items()}
            for row, cells in of.rows.items()
        }
        for of in tables
    }


if __name__ == "__main__":
    sys.exit(main())
