"""``vqspeech align``: recordings and what is said in them to the times of words and phones."""

import argparse
import logging
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.audio.header import is_stream
from vqspeech.cli.files import Failures, check_folder, inside, out_file, refused
from vqspeech.cli.options import whole_number
from vqspeech.corpus.manifest import Skipped
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.jobs.lock import only_run

if TYPE_CHECKING:
    from vqspeech.alignment.files import Job

log = logging.getLogger("vqspeech")

HELP = "recordings and texts to times of words and phones"

FAILURES, SKIPPED = "failures.tsv", "skipped.tsv"

_FORMATS = ("textgrid", "lab")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="CORPUS|FILE",
        help="a VCTK tree, a folder of SPEAKER/UTTERANCE.wav with .txt beside, or a manifest.tsv;"
        " or sound files with .txt beside",
    )
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="where SPEAKER/UTTERANCE.TextGrid and .lab go (for sound files, by default, here); for one sound file"
        " also a file",
    )
    parser.add_argument("--text", help="what is said in the one sound file given")
    parser.add_argument(
        "--format",
        type=_formats,
        metavar="textgrid,lab",
        help="one of them or both (default: both, or that of the file in --out)",
    )
    parser.add_argument("--mic", choices=("mic1", "mic2"), default="mic1", help="of VCTK 0.92")
    parser.add_argument(
        "--workers",
        type=whole_number(1, 2**15, "from 1 up"),
        metavar="N",
        help="processes (default: as many as may be used)",
    )
    parser.add_argument(
        "--force", action="store_true", help="align anew what is done, and replace existing files"
    )


def run(args: argparse.Namespace) -> None:
    """Align what `args` name and say how much was done.

    Raises
    ------
    ConfigurationError
        When the arguments do not go together, an output has no place, or a package is missing.
    CorpusError
        When the corpus is none.
    VqspeechError
        After all other recordings are done, when some could not be aligned.
    """
    from vqspeech.alignment.files import align_all
    from vqspeech.alignment.sphinx import check_installed
    from vqspeech.jobs.progress import Progress
    from vqspeech.jobs.workers import usable_threads

    check_installed()
    plan = _plan(args)
    failures = Failures(len(plan.jobs) + len(plan.misplaced))
    for line in plan.misplaced:
        failures.add(ConfigurationError(line))
    outputs = [path for job in plan.jobs for path in job.outputs()]
    there = set() if args.force else {path for path in outputs if os.path.lexists(path)}
    wanted = [path for path in outputs if path not in there]
    reasons = refused(wanted, force=True, sources=plan.sources)
    makeable = set(wanted) - reasons.keys()
    jobs = [job for job in (job.only(makeable) for job in plan.jobs) if job.formats]
    for reason in dict.fromkeys(reasons.values()):
        failures.add(ConfigurationError(reason), files=0)
    failures.failed += sum(any(path in reasons for path in job.outputs()) for job in plan.jobs)
    finished = [job for job in plan.jobs if there.issuperset(job.outputs())]
    done = len(finished)
    kept = len(there) - sum(len(job.formats) for job in finished)
    failed: dict[Path, str] = {}
    out = Path(args.out or ".")
    with only_run(out) if plan.corpus else nullcontext():
        with Progress(len(jobs) + done, "files", "aligning", initial=done) as bar:
            for job, reason in align_all(jobs, args.workers or usable_threads()):
                if reason:
                    failed[job.source] = reason
                bar.update(1, f"{len(failed)} failed" if failed else "")
        rows = [(job.source, failed[job.source]) for job in jobs if job.source in failed]
        for source, reason in rows:
            failures.add(VqspeechError(f"{source}: {reason}"))
        if args.out and not plan.file:
            _write_list(out / FAILURES, rows)
            _write_list(out / SKIPPED, [(entry.path, entry.reason) for entry in plan.skipped])
    if kept:
        log.warning("%d existing files are kept beside new ones; --force replaces them", kept)
    print(
        f"{len(jobs) - len(failed)} aligned, {done} done before, {failures.failed} failed,"
        f" {len(plan.skipped)} skipped; in {out}"
    )
    failures.finish("aligned")


@dataclass
class _Plan:
    """What is to be aligned and where it goes."""

    corpus: bool
    file: Path | None
    jobs: "list[Job]" = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)

    def add(self, source: Path, text: str, place: tuple[Path, str], formats: Sequence[str]) -> None:
        """Add a job, unless its name leads outside the folder it belongs into."""
        from vqspeech.alignment.files import Job

        folder, name = place
        try:
            stem = inside(folder, name)
        except ConfigurationError as error:
            self.misplaced.append(str(error))
        else:
            self.jobs.append(Job(source, text, stem, tuple(formats), self.file))
        self.sources.append(source)


def _plan(args: argparse.Namespace) -> _Plan:
    """Find what is to be aligned, and what of a corpus cannot be."""
    from vqspeech.alignment.files import FORMATS
    from vqspeech.audio import SUFFIXES
    from vqspeech.corpus.beside import look_beside
    from vqspeech.corpus.prepare import find_corpus

    sources = [Path(name) for name in args.sources]
    suffixes = {suffix.lower(): name for name, (suffix, _) in FORMATS.items()}
    formats = args.format or _FORMATS
    if all(_is_sound(path, SUFFIXES) for path in sources):
        if args.text is not None and len(sources) > 1:
            raise ConfigurationError(f"--text is for one sound file, not for {len(sources)}")
        shown = [suffix for suffix, _ in FORMATS.values()]
        plan = _Plan(False, out_file(args.out, shown, len(sources)))
        out = Path(args.out or ".")
        if plan.file:
            kind = suffixes[plan.file.suffix.lower()]
            if args.format and args.format != (kind,):
                raise ConfigurationError(
                    f"--out {out} means {kind} and --format says {','.join(args.format)}"
                )
            formats, out = (kind,), plan.file.parent
        check_folder(out)
        for path in sources:
            beside = look_beside(path, plan.skipped)
            text = beside.text if args.text is None else args.text
            if beside.text_file is not None:
                plan.sources.append(beside.text_file)
            name = plan.file.stem if plan.file else path.stem
            plan.add(path, text, (out, name), formats)
        return plan
    if len(sources) > 1:
        raise ConfigurationError("give one corpus, or sound files, not both together")
    if args.text is not None:
        raise ConfigurationError("--text goes with a sound file; a corpus has its own texts")
    if args.out is None:
        raise ConfigurationError("a corpus needs --out FOLDER")
    out = Path(args.out)
    check_folder(out)
    listing = find_corpus(sources[0], args.mic)
    plan = _Plan(True, None, skipped=listing.skipped)
    for u in listing.utterances:
        plan.add(u.path, u.text, (out, f"{u.speaker}/{u.utterance}"), formats)
    # A transcript may have the name of an output: the Montreal Forced Aligner keeps it in a .lab.
    for job in plan.jobs:
        if job.source.with_suffix("") == job.stem:
            text_file = look_beside(job.source, []).text_file
            plan.sources += [text_file] if text_file else []
    return plan


def _is_sound(path: Path, suffixes: Sequence[str]) -> bool:
    return is_stream(path) or (path.suffix.lower() in suffixes and not path.is_dir())


def _write_list(path: Path, rows: Sequence[tuple[Path, str]]) -> None:
    """Write paths with reasons, or remove the list of an earlier run when there are none."""
    from vqspeech.corpus.manifest import write_table

    if not rows:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name may hold what a table cannot: line breaks, tabs, bytes that are no UTF-8.
    lines = [[repr(f)[1:-1] if not f.isprintable() else f for f in map(str, row)] for row in rows]
    write_table(path, ("path", "reason"), lines)


def _formats(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.lower().split(",")))
    if unknown := [name for name in names if name not in _FORMATS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(_FORMATS)}")
    return names
