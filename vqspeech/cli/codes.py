"""``vqspeech codes``: recordings to codes, block by block, so that hours of sound take constant memory."""

import argparse
import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli import options, shards
from vqspeech.cli.encode import encode_all, encode_stored, find_stored
from vqspeech.cli.files import (
    Failures,
    Source,
    check_folder,
    find_sources,
    inside,
    out_file,
    usable,
)
from vqspeech.cli.streams import require_standard_output
from vqspeech.corpus.manifest import SPLITS
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    from vqspeech.codes.record import CodesRecord
    from vqspeech.codes.vqc import PriorFinder
    from vqspeech.models.prior import Prior

log = logging.getLogger("vqspeech")

HELP = "recordings to discrete codes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="FILE|FOLDER",
        help="sound files, or folders to search for them; .vqc files, whose codes are read; - reads sound from"
        " standard input; for shards one folder, manifest (.tsv, Lhotse .jsonl.gz), Parquet, tar, or folder of these or"
        " of Lhotse Shar, also as a URL",
    )
    parser.add_argument(
        "--corpus",
        "--store",
        type=Path,
        metavar="STORE",
        help="instead of files, a split of a prepared store; written as SPEAKER/UTTERANCE below --out",
    )
    parser.add_argument(
        "--split", choices=SPLITS, default="test", help="of --corpus (default: test)"
    )
    parser.add_argument(
        "--format",
        choices=("json", "npz", "textgrid", "vqc", *shards.FORMATS),
        help="json: one object a line on standard output, or a file each under --out (default, unless --out is a file"
        " of another format); vqc: the smallest, entropy-coded; the others: shards of many utterances",
    )
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a file for one recording, else a folder for one file each; folders are mirrored",
    )
    parser.add_argument(
        "--coder",
        choices=("prior", "unigram"),
        help="what predicts the codes in a .vqc file: a learned prior, the smallest, or how often each came so far,"
        " which every machine reads alike (default: prior where there is one)",
    )
    parser.add_argument(
        "--speaker",
        metavar="NAME",
        help="speaker to condition the prior on, one of its speakers",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_model_arguments(parser)
    options.add_prior_argument(parser, ", with which .vqc files are written and read")
    shards.add_arguments(parser)


def _read_all(
    sources: list[Source], find_prior: "PriorFinder", failures: Failures
) -> "Iterator[tuple[Source, CodesRecord]]":
    """Read files of codes in turn; one that cannot be read goes to `failures`."""
    from vqspeech.codes import files as codesfile

    for source in sources:
        try:
            with options.coding_progress(f"reading {source.path.name}") as tell:
                (record,) = codesfile.read(source.path, find_prior, tell)
        except VqspeechError as error:
            failures.add(error)
        else:
            yield source, record


def _check_coder(args: argparse.Namespace, prior: "Prior | None") -> None:
    """Say what predicts the codes in .vqc files, and check that it can be conditioned on who speaks."""
    from vqspeech.codes import vqc

    if args.speaker is not None:
        if prior is None:
            raise ConfigurationError("--speaker conditions a prior, and none predicts these codes")
        vqc.speaker_index(prior, args.speaker)
    text = "how often each came" if prior is None else f"prior {prior.prior_id}"
    if prior is None and args.coder is None:
        text += f": there is no prior for {options.model_name(args)}"
    log.warning("codes are predicted by %s", text)


def run(args: argparse.Namespace) -> None:
    """Encode what `args` name, or read it where it is codes.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist, or options do not go together.
    ModelFileError
        When the model has no codes, or there is no prior where one is asked for.
    VqspeechError
        When the prior knows the codes of another model; after all other files are done, when some could not be encoded.
    """
    if args.merge or args.format in shards.FORMATS:
        shards.make(args)
        return

    from vqspeech.codes import files as codesfile
    from vqspeech.codes import vqc
    from vqspeech.codes.record import CodesRecord
    from vqspeech.corpus.store import PackedStore

    shards.check_alone(args)
    if (args.corpus is None) == (not args.sources):
        raise ConfigurationError("name sound files or folders, or a prepared store with --corpus")
    store = None if args.corpus is None else PackedStore(args.corpus)
    stored = {} if store is None else find_stored(store, args.split)
    sources = list(stored) or find_sources(args.sources)
    file = out_file(args.out, [*codesfile.SUFFIXES.values()], len(sources))
    kind = _format(args.format, file)
    if args.out is None and kind != "json":
        raise ConfigurationError(f"--format {kind} writes files: name one, or a folder, with --out")
    if kind != "vqc" and (args.coder or args.speaker):
        raise ConfigurationError("--coder and --speaker are for --format vqc")
    failures = Failures(len(sources))
    places: dict[Source, Path] = {}
    if args.out is None:
        require_standard_output()
    else:
        outputs = [file] if file else _outputs(Path(args.out), sources, codesfile.SUFFIXES[kind])
        own = [source.path for source in sources]
        writable = usable(outputs, failures, force=args.force, sources=own)
        places = {s: path for s, path in zip(sources, writable, strict=True) if path is not None}
        sources = list(places)
    coded = [source for source in sources if source.path.suffix.lower() == vqc.SUFFIX]
    sounds = [source for source in sources if source.path.suffix.lower() != vqc.SUFFIX]
    with_prior = bool(sources) and kind == "vqc" and args.coder != "unigram"
    name, prior = options.model_name(args), None
    records = _read_all(coded, options.prior_finder(args.prior, name), failures)
    if sounds or with_prior:
        model = options.open_model(args)
        options.check_codes(model, name)
        if with_prior:
            look = options.open_prior if args.coder == "prior" else options.find_prior
            prior = look(args.prior, model, name)
        found = (
            encode_all(model, sounds, failures)
            if store is None
            else encode_stored(model, store, stored, sounds)
        )
        encoded = (
            (source, CodesRecord.of(model, codes.tolist(), samples, str(source.path), name))
            for source, (codes, samples, _) in found
        )
        records = chain(records, encoded)
    if sources and kind == "vqc":
        _check_coder(args, prior)
    for source, record in records:
        if not places:
            print(record.to_json(), flush=True)
            continue
        try:
            with options.coding_progress(f"writing {places[source].name}") as tell:
                codesfile.write(
                    places[source],
                    record,
                    kind,
                    prior=prior,
                    speaker=args.speaker,
                    progress=tell,
                )
        except OSError as error:
            failures.add(error)
    failures.finish("encoded")


def _format(named: str | None, file: Path | None) -> str:
    """Return the format that ``--format`` names, else that of the file, else JSON."""
    from vqspeech.codes import files as codesfile

    kinds = {suffix.lower(): kind for kind, suffix in codesfile.SUFFIXES.items()}
    meant = None if file is None else kinds[file.suffix.lower()]
    if named and meant and named != meant:
        raise ConfigurationError(f"--out {file} means {meant} and --format says {named}")
    return named or meant or "json"


def _outputs(folder: Path, sources: list[Source], suffix: str) -> list[Path]:
    check_folder(folder)
    return [inside(folder, source.mirror.with_suffix(suffix)) for source in sources]
