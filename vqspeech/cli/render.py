"""Codes to sound: several recordings advance together; each file is written when it is whole, a pipe as it grows."""

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import STANDARD_OUTPUT, Failures
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vqspeech.jobs.progress import Progress
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.sampling.engine import Sampling

log = logging.getLogger("vqspeech")

LOCKSTEP = 256
"""Most recordings decoded together: a step costs little more for many of them than for one."""

LOCKSTEP_SAMPLES = 2**28
"""Most samples decoded together, where it is more than one recording: 1 GiB of them, 4.7 hours at 16 kHz."""


@dataclass(frozen=True)
class Job:
    """One recording to make.

    Attributes
    ----------
    told : Tensor
        Codes, int64, (frames,), or latents, float32, (dim, frames).
    speaker : str
        Whose voice.
    samples : int
        Length at the model's rate.
    path : Path
        The file, or `STANDARD_OUTPUT`.
    seed : int
        Of its draws, so that a recording sounds the same whatever it is made together with.
    contour : Tensor or None
        Pitch contour, see `Autoencoder.condition`; None for the predicted one, or of a model without pitch.
    """

    told: "torch.Tensor"
    speaker: str
    samples: int
    path: Path
    seed: int
    contour: "torch.Tensor | None" = None


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


def engine_note(model: "Autoencoder", sampling: "Sampling") -> str:
    """Say which engine decodes, and why none that is faster does.

    Raises
    ------
    ConfigurationError
        When there is no such engine or mode, or the engine cannot run here.
    """
    from vqspeech.sampling import ENGINES, resolve

    name, mode = resolve(ENGINES, sampling, model.device)
    note = f"decoding with engine {name}, mode {mode}"
    if sampling.engine == "auto":
        faster = list(ENGINES)[: list(ENGINES).index(name)]
        reasons = ((other, ENGINES[other].missing(model.device)) for other in faster)
        # where the model is was the person's choice and is no news
        missing = [f"{o}: {r}" for o, r in reasons if r and not r.startswith("the model is on")]
        note += "".join(f"; {reason}" for reason in missing)
    return note


def render(
    model: "Autoencoder",
    jobs: Sequence[Job],
    sampling: "Sampling",
    note: str,
    failures: Failures,
) -> None:
    """Decode `jobs`, longest first, and print the path of each file once it is there.

    Parameters
    ----------
    model : Autoencoder
        The model.
    jobs : sequence of Job
        What to make: files, or one recording for standard output. Folders are made where missing, existing files
        are replaced.
    sampling : Sampling
        How levels are drawn, and by what.
    note : str
        Said before the work begins.
    failures : Failures
        Files that could not be written go here.
    """
    from vqspeech.jobs.progress import Progress

    if not jobs:
        return
    log.warning("%s", note)
    with Progress(sum(job.samples for job in jobs), "samples", "decoding") as bar:
        if jobs[0].path == STANDARD_OUTPUT:
            _render_stream(model, jobs[0], sampling, bar)
        else:
            for group in _groups(jobs):
                _render_files(model, group, sampling, bar, failures)


def _groups(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Deal out jobs, longest first, as many together as memory allows."""
    group: list[Job] = []
    for job in sorted(jobs, key=lambda job: -job.samples):
        samples = sum(other.samples for other in group) + job.samples
        if group and (len(group) == LOCKSTEP or samples > LOCKSTEP_SAMPLES):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _render_files(
    model: "Autoencoder",
    jobs: Sequence[Job],
    sampling: "Sampling",
    bar: "Progress",
    failures: Failures,
) -> None:
    import torch

    from vqspeech import audio

    parts: list[list[torch.Tensor]] = [[] for _ in jobs]
    left = [job.samples for job in jobs]
    for blocks in model.decode_blocks(
        [job.told for job in jobs],
        [job.speaker for job in jobs],
        [job.samples for job in jobs],
        seeds=[job.seed for job in jobs],
        sampling=sampling,
        contours=[job.contour for job in jobs],
    ):
        for i, (job, block) in enumerate(zip(jobs, blocks, strict=True)):
            if len(block) == 0:
                continue
            parts[i].append(block)
            left[i] -= len(block)
            if left[i] == 0:
                wav = torch.cat(parts[i]).numpy()
                parts[i] = []
                try:
                    job.path.parent.mkdir(parents=True, exist_ok=True)
                    audio.write(job.path, wav, model.sample_rate, force=True)
                except (VqspeechError, OSError) as error:
                    failures.add(error)
                else:
                    print(job.path, flush=True)
        bar.update(sum(map(len, blocks)))


def _render_stream(model: "Autoencoder", job: Job, sampling: "Sampling", bar: "Progress") -> None:
    from vqspeech import audio

    def blocks() -> "Iterator[np.ndarray]":
        for block in model.stream(
            job.told,
            job.speaker,
            job.samples,
            seed=job.seed,
            sampling=sampling,
            contour=job.contour,
        ):
            yield block.numpy()
            bar.update(len(block))

    audio.write_stream(sys.stdout.buffer, blocks(), job.samples, model.sample_rate)
