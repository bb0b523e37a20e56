"""Codes to sound: each file is written when it is whole, a pipe as it grows."""

import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from vqspeech.cli.files import STANDARD_OUTPUT, Failures
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    import numpy as np

    from vqspeech.jobs.progress import Progress
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.models.decoding import Request
    from vqspeech.sampling.engine import Sampling

log = logging.getLogger("vqspeech")


class Job(NamedTuple):
    """One recording to make, its length given, and the file it goes to, or `STANDARD_OUTPUT`."""

    request: "Request"
    path: Path


class Drawing(NamedTuple):
    """How levels are drawn, the engine decided, and a line that says so."""

    sampling: "Sampling"
    note: str


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


def choose_engine(model: "Autoencoder", sampling: "Sampling") -> Drawing:
    """Decide which engine decodes; the note says why none that is faster does.

    Raises
    ------
    ConfigurationError
        When there is no such engine or mode, or the engine cannot run here.
    """
    from vqspeech.sampling import ENGINES, resolve

    device, chosen = model.device, resolve(ENGINES, sampling, model.device)
    note = f"decoding with engine {chosen.engine}, mode {chosen.mode}"
    if sampling.engine == "auto":
        for name in list(ENGINES)[: list(ENGINES).index(chosen.engine)]:
            reason = ENGINES[name].unavailable_reason(device)
            # where the model is was the person's choice and is no news
            if reason and ENGINES[name].DEVICE in (None, device.type):
                note += f"; {name}: {reason}"
    return Drawing(chosen, note)


def render(model: "Autoencoder", jobs: Sequence[Job], drawing: Drawing, failures: Failures) -> None:
    """Decode `jobs` and print the path of each file once it is there; what cannot be written goes to `failures`.

    Folders are made where missing, existing files are replaced. Standard output takes one recording.
    """
    from vqspeech.jobs.progress import Progress

    if not jobs:
        return
    log.warning("%s", drawing.note)
    with Progress(sum(job.request.samples or 0 for job in jobs), "samples", "decoding") as bar:
        if jobs[0].path == STANDARD_OUTPUT:
            _render_stream(model, jobs[0].request, drawing.sampling, bar)
        else:
            _render_files(model, jobs, drawing.sampling, bar, failures)


def _render_files(
    model: "Autoencoder",
    jobs: Sequence[Job],
    sampling: "Sampling",
    bar: "Progress",
    failures: Failures,
) -> None:
    from vqspeech import audio

    made = model.decode_many(
        [job.request for job in jobs], sampling, lambda done, _: bar.update(done - bar.done)
    )
    for place, wav in made:
        path = jobs[place].path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, wav.numpy(), model.sample_rate, force=True)
        except (VqspeechError, OSError) as error:
            failures.add(error)
        else:
            print(path, flush=True)


def _render_stream(
    model: "Autoencoder", request: "Request", sampling: "Sampling", bar: "Progress"
) -> None:
    from vqspeech import audio

    codes, speaker, samples, seed, contour = request
    assert samples is not None

    def blocks() -> "Iterator[np.ndarray]":
        for block in model.stream(
            codes, speaker, samples, seed=seed, sampling=sampling, contour=contour
        ):
            yield block.numpy()
            bar.update(len(block))

    audio.write_stream(sys.stdout.buffer, blocks(), samples, model.sample_rate)
