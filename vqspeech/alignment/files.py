"""Alignment of many recordings, in parallel; a killed run can be resumed.

Each file is written atomically, so a recording is done when all its files exist. One that fails leaves none, and is
tried again in the next run.
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
from vqspeech.jobs.atomic import write_file
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
        Its transcript.
    stem : Path
        Path of the results, without suffix.
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
    """Align one recording and write its files; return an empty string, or why it failed, in one line.

    Raises `OSError` if the files cannot be written.
    """
    if not job.text.strip():
        return "no text comes with it (a .txt of the same name beside it, or --text)"
    try:
        wav = audio.read(job.source)
        alignment = align(wav, job.text)
    except VqspeechError as error:
        return str(error).removeprefix(f"{job.source}: ")
    for name, path in zip(job.formats, job.outputs(), strict=True):
        write_file(path, FORMATS[name][1](alignment))
    return ""


def align_all(jobs: Sequence[Job], processes: int) -> Iterator[tuple[Job, str]]:
    """Align recordings in several processes (0 or 1: in this one).

    Yields each finished job, in any order, with why it failed or could not be written, else an empty string. Raises
    `VqspeechError` if a worker dies.
    """
    # A pipe is open only in this process.
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
                reason, warnings = _done(job)
                warned.append((job, warnings))
                yield job, reason
    finally:
        logger.setLevel(level)
        for job, warnings in warned:
            _warn(job, warnings)
    tasks = [
        [str(job.source), job.text, str(job.stem), list(job.formats), job.file and str(job.file)]
        for job in others
    ]
    if tasks:
        for position, (reason, warnings) in workers.map_unordered(__name__, tasks, processes):
            _warn(others[position], warnings)
            yield others[position], reason


def _done(job: Job) -> tuple[str, list[str]]:
    """Align a recording; return why that failed or could not be written, and warnings about its sound."""
    with audio.warnings_kept() as warnings:
        try:
            return align_file(job), warnings
        except OSError as error:
            reason = f"{error.filename or job.stem}: cannot be written ({error.strerror or error})"
            return reason, warnings


def _warn(job: Job, warnings: Sequence[str]) -> None:
    for text in warnings:
        logging.getLogger("vqspeech").warning("%s: %s", job.source, text)


def _handle(task: list) -> tuple[str, list[str]]:
    source, text, stem, formats, file = task
    return _done(Job(Path(source), text, Path(stem), tuple(formats), file and Path(file)))


def _quiet() -> None:
    """Suppress warnings about single files: a corpus has thousands of them, all alike."""
    logging.getLogger("vqspeech").setLevel(logging.ERROR)


if __name__ == "__main__":
    _quiet()
    workers.serve(_handle)
