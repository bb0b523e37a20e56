"""Codes to sound files: several recordings advance together, sample by sample; each is written when it is whole."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

    from vqspeech.model import Autoencoder

LOCKSTEP = 32
"""Recordings decoded together: a step costs little more for all of them than for one."""


@dataclass(frozen=True)
class Job:
    """One sound file to make.

    Attributes
    ----------
    codes : Tensor
        int64, (frames,).
    speaker : str
        Whose voice.
    samples : int
        Length at the model's rate.
    path : Path
        Where it is written.
    """

    codes: "torch.Tensor"
    speaker: str
    samples: int
    path: Path


def speakers_named(values: Sequence[str], model: "Autoencoder") -> list[str]:
    """Read ``--speaker a,b --speaker c``, each name once, and check that the model knows all of them.

    Raises
    ------
    VqspeechError
        Naming the first unknown speaker, with those that look alike.
    """
    names: list[str] = []
    for value in values:
        # A name may hold a comma itself.
        parts = [value] if value in model.speakers else value.split(",")
        names += [part.strip() for part in parts if part.strip()]
    if not names:
        raise ConfigurationError("--speaker names nobody: see vqspeech info for the speakers")
    for name in names:
        model.speaker_index(name)
    return list(dict.fromkeys(names))


def render(model: "Autoencoder", jobs: Sequence[Job], args: argparse.Namespace) -> None:
    """Decode `jobs`, longest first, `LOCKSTEP` at a time, and print each path once its file is there.

    Parameters
    ----------
    model : Autoencoder
        The model.
    jobs : sequence of Job
        What to make; the folders are made where missing, existing files are replaced.
    args : Namespace
        With ``seed``, ``temperature`` and ``engine``. Every job has the same seed, so that a recording sounds the
        same whatever it is converted together with.
    """
    from vqspeech import audio
    from vqspeech.progress import Progress

    ordered = sorted(jobs, key=lambda job: -job.samples)
    with Progress(sum(job.samples for job in jobs), "samples", "decoding") as bar:
        for start in range(0, len(ordered), LOCKSTEP):
            batch = ordered[start : start + LOCKSTEP]
            before = bar.done

            def report(done: int, _total: int, before: int = before) -> None:
                bar.update(before + done - bar.done)

            wavs = model.decode_batch(
                [job.codes for job in batch],
                [job.speaker for job in batch],
                [job.samples for job in batch],
                seeds=[args.seed] * len(batch),
                temperature=args.temperature,
                engine=args.engine,
                progress=report,
            )
            for job, wav in zip(batch, wavs, strict=True):
                job.path.parent.mkdir(parents=True, exist_ok=True)
                audio.write(job.path, wav.numpy(), model.sample_rate, force=True)
                print(job.path, flush=True)
