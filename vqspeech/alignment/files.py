"""Many recordings aligned, some at a time; what is done stays done when a run is killed.

Each file is written whole under its own name, so a recording is done when all its files are there.
One that fails leaves none, and is tried again in the next run.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqspeech import audio
from vqspeech.alignment.sphinx import Alignment, align
from vqspeech.audio.header import is_stream
from vqspeech.errors import VqspeechError
from vqspeech.jobs import workers
from vqspeech.jobs.atomic import write_atomically
from vqspeech.labels.textgrid import SUFFIX

FORMATS: dict[str, tuple[str, Callable[[Alignment], str]]] = {
    "textgrid": (SUFFIX, Alignment.to_textgrid),
    "lab": (".lab", Alignment.to_lab),
}
"""Suffix and text of a file in each format."""


@dataclass(frozen=True)
class Job:
    """One recording to align.

    Attributes
    ----------
    source : Path
        The sound file.
    text : str
        What is said in it.
    stem : Path
        Where the results go, without suffix.
    formats : tuple of str
        Keys of `FORMATS`.
    file : Path or None
        The one file asked for, whose suffix may be written in another case.
    """

    source: Path
    text: str
    stem: Path
    formats: tuple[str, ...]
    file: Path | None = None

    def outputs(self) -> list[Path]:
        """Return the files this job writes."""
        if self.file is not None and self.formats:
            return [self.file]
        return [self.stem.with_name(self.stem.name + FORMATS[name][0]) for name in self.formats]

    def only(self, paths: Collection[Path]) -> "Job":
        """Return the job that writes those of its files that are among `paths`."""
        formats = zip(self.formats, self.outputs(), strict=True)
        return replace(self, formats=tuple(name for name, path in formats if path in paths))


def align_file(job: Job) -> str:
    """Align one recording and write its files.

    Returns
    -------
    str
        Why it failed, in one line; empty when it did not.

    Raises
    ------
    OSError
        If the files cannot be written.
    """
    if not job.text.strip():
        return "no text comes with it (a .txt of the same name beside it, or --text)"
    try:
        wav = audio.read(job.source)
        alignment = align(wav, job.text)
    except VqspeechError as error:
        return str(error).removeprefix(f"{job.source}: ")
    for name, path in zip(job.formats, job.outputs(), strict=True):
        _write(path, FORMATS[name][1](alignment))
    return ""


def align_all(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, str]]:
    """Align recordings in several processes.

    Parameters
    ----------
    jobs : sequence of Job
        What to do.
    processes : int
        0 or 1 works in this one.

    Yields
    ------
    tuple of (Job, str)
        A job that was done, in any order, and why it failed or could not be written: empty when it did not.

    Raises
    ------
    VqspeechError
        If a worker dies.
    """
    # A pipe is open in this process alone.
    others = [job for job in jobs if not is_stream(job.source)]
    if min(processes, len(others)) <= 1:
        others = []
    theirs = set(map(id, others))
    logger = logging.getLogger("vqspeech")
    level = logger.level
    _quiet()
    warned: list[tuple[Job, list[str]]] = []
    try:
        for job in jobs:
            if id(job) not in theirs:
                reason, said = _done(job)
                warned.append((job, said))
                yield job, reason
    finally:
        logger.setLevel(level)
        for job, said in warned:
            _warn(job, said)
    tasks = [
        [str(job.source), job.text, str(job.stem), list(job.formats), job.file and str(job.file)]
        for job in others
    ]
    if tasks:
        for position, (reason, said) in workers.map_unordered(__name__, tasks, processes):
            _warn(others[position], said)
            yield others[position], reason


def _write(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _done(job: Job) -> tuple[str, list[str]]:
    """Align a recording; return why that failed or could not be written, and what is to be known of its sound."""
    with audio.warnings_kept() as said:
        try:
            return align_file(job), said
        except OSError as error:
            reason = f"{error.filename or job.stem}: cannot be written ({error.strerror or error})"
            return reason, said


def _warn(job: Job, said: Sequence[str]) -> None:
    for text in said:
        logging.getLogger("vqspeech").warning("%s: %s", job.source, text)


def _handle(task: list) -> tuple[str, list[str]]:
    source, text, stem, formats, file = task
    return _done(Job(Path(source), text, Path(stem), tuple(formats), file and Path(file)))


def _quiet() -> None:
    """Leave out what is said about single files: a corpus has thousands of them, all alike."""
    logging.getLogger("vqspeech").setLevel(logging.ERROR)


if __name__ == "__main__":
    _quiet()
    workers.serve(_handle)
