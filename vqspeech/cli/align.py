"""``vqspeech align``: recordings and what is said in them to the times of words and phones."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import Failures, check_folder, check_outputs, inside
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    from vqspeech.alignment.files import Job
    from vqspeech.corpus.manifest import Skipped

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
        metavar="FOLDER",
        help="where SPEAKER/UTTERANCE.TextGrid and .lab go (for sound files, by default, here)",
    )
    parser.add_argument("--text", help="what is said in the one sound file given")
    parser.add_argument(
        "--format",
        type=_formats,
        default=_FORMATS,
        metavar="textgrid,lab",
        help="one of them or both (default: both)",
    )
    parser.add_argument("--mic", choices=("mic1", "mic2"), default="mic1", help="of VCTK 0.92")
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="processes (default: as many as may be used)"
    )
    parser.add_argument("--force", action="store_true", help="align anew what is done")


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
    from vqspeech.progress import Progress
    from vqspeech.workers import usable_threads

    check_installed()
    jobs, skipped = _jobs(args)
    out = Path(args.out or ".")
    outputs = [path for job in jobs for path in job.outputs()]
    check_outputs(outputs, force=True, sources=[job.source for job in jobs])
    wanted = [job for job in jobs if args.force or not job.done()]
    failed: dict[Path, str] = {}
    with Progress(len(jobs), "files", "aligning", initial=len(jobs) - len(wanted)) as bar:
        for job, reason in align_all(wanted, args.workers or usable_threads()):
            if reason:
                failed[job.source] = reason
            bar.update(1, f"{len(failed)} failed" if failed else "")
    failures = Failures(len(jobs))
    rows = [(job.source, failed[job.source]) for job in jobs if job.source in failed]
    for source, reason in rows:
        failures.add(VqspeechError(f"{source}: {reason}"))
    if args.out:
        _write_list(out / FAILURES, rows)
        _write_list(out / SKIPPED, [(entry.path, entry.reason) for entry in skipped])
    print(
        f"{len(wanted) - len(failed)} aligned, {len(jobs) - len(wanted)} done before,"
        f" {len(failed)} failed, {len(skipped)} skipped; in {out}"
    )
    failures.finish("aligned")


def _jobs(args: argparse.Namespace) -> "tuple[list[Job], list[Skipped]]":
    """Find what is to be aligned, and what of a corpus cannot be."""
    from vqspeech.alignment.files import Job
    from vqspeech.audio import SUFFIXES
    from vqspeech.corpus.folder import read_text
    from vqspeech.corpus.prepare import find_corpus

    sources = [Path(name) for name in args.sources]
    out = Path(args.out or ".")
    if all(path.suffix.lower() in SUFFIXES and not path.is_dir() for path in sources):
        if args.text is not None and len(sources) > 1:
            raise ConfigurationError(f"--text is for one sound file, not for {len(sources)}")
        check_folder(out)
        unread: list[Skipped] = []
        texts = [
            args.text if args.text is not None else read_text(path.with_suffix(".txt"), unread)
            for path in sources
        ]
        jobs = [
            Job(path, text, inside(out, path.stem), args.format)
            for path, text in zip(sources, texts, strict=True)
        ]
        return jobs, unread
    if len(sources) > 1:
        raise ConfigurationError("give one corpus, or sound files, not both together")
    if args.text is not None:
        raise ConfigurationError("--text goes with a sound file; a corpus has its own texts")
    if args.out is None:
        raise ConfigurationError("a corpus needs --out FOLDER")
    check_folder(out)
    listing = find_corpus(sources[0], args.mic)
    jobs = [
        Job(u.path, u.text, inside(out, f"{u.speaker}/{u.utterance}"), args.format)
        for u in listing.utterances
    ]
    return jobs, listing.skipped


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


def _workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)
