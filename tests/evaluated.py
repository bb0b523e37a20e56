"""Evaluations made up of trials, for tests of what is made of an evaluation."""

from vqspeech.evaluation.figures import Figures, summarise
from vqspeech.evaluation.judging import ROWS, TOGETHER, Group, Judged
from vqspeech.evaluation.study import Evaluation
from vqspeech.evaluation.trials import CONVERSION, Plan, Trial
from vqspeech.metrics.rate import CodeCost

RATE = 8000


def judged(group: str, number: int, transcript: str = "hello") -> Judged:
    """A conversion of which everything but the words is unknown."""
    trial = Trial(CONVERSION, group, number, "a", "b", None)
    figures = {row: Figures(transcript=transcript, words=1) for row in ROWS if row != "real"}
    return Judged(trial, f"u{number}", "<Hello> & goodbye", "", figures)


def evaluation(
    trials: tuple[Judged, ...], measured: dict[str, str], codes: CodeCost | None = None
) -> Evaluation:
    """Put trials into one group."""
    rows = {row: summarise([of.figures[row] for of in trials if row in of.figures]) for row in ROWS}
    facts = {"name": "m", "parameters": 1, "frame_rate_hz": 25.0, "codebook_size": 2}
    return Evaluation(
        model=facts | {"speakers": ["b"]},
        corpus="made",
        sample_rate=RATE,
        plan=Plan("test", tuple(of.trial for of in trials), {"b": (0,)}, ("c",), ()),
        sampling={"engine": "native"},
        measured=measured,
        likelihood=None,
        codes=codes,
        groups=(Group(CONVERSION, TOGETHER, rows),),
        trials=trials,
        phones={},
        sound_s=3.0,
        took_s=2.0,
        remarks=("<b>said</b>",),
    )
