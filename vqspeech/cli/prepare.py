"""``vqspeech prepare``: recordings to a manifest, splits and one packed store."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import check_folder

if TYPE_CHECKING:
    from vqspeech.corpus.store import PackedStore

HELP = "recordings to a packed store for training"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--corpus",
        required=True,
        metavar="mini|vctk|PATH",
        help="mini (made on the spot), vctk (with --download), or a VCTK tree, a folder of"
        " SPEAKER/UTTERANCE.wav, a tar or folder of tars (WebDataset, Lhotse Shar), or a manifest: .tsv, Lhotse"
        " .jsonl.gz, .parquet with paths; give a folder named mini as ./mini",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the store")
    parser.add_argument(
        "--download",
        type=Path,
        metavar="FOLDER",
        help="where VCTK 0.92 is, or is fetched to (11 GB, then 11 GB unpacked), or the miniature is made"
        " (default for it: OUT-recordings); without --out nothing else is done",
    )
    parser.add_argument("--mic", choices=("mic1", "mic2"), default="mic1", help="of VCTK 0.92")
    parser.add_argument(
        "--sample-rate", type=int, default=16000, metavar="HZ", help="of the store (default: 16000)"
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--no-trim", action="store_true", help="keep the silence before and after the speech"
    )
    parser.add_argument(
        "--in-place",
        action="store_true",
        help="write no samples: training reads the recordings, which must stay where they are",
    )
    parser.add_argument("--force", action="store_true", help="replace another store in --out")


def run(args: argparse.Namespace) -> None:
    """Prepare the corpus that `args` name and print what is in the store.

    Raises
    ------
    ConfigurationError
        When ``--download`` does not go with the corpus.
    CorpusError
        When the corpus cannot be found, made, fetched or packed.
    """
    from vqspeech.corpus.mini import make_mini
    from vqspeech.corpus.prepare import find_corpus, prepare
    from vqspeech.corpus.store import SKIPPED, PackedStore
    from vqspeech.corpus.vctk import download
    from vqspeech.errors import ConfigurationError, CorpusError

    if args.download and args.corpus not in ("mini", "vctk"):
        raise ConfigurationError("--download goes with --corpus mini and vctk only")
    if args.out is None and args.download is None:
        raise ConfigurationError("name a folder for the store with --out")
    if args.workers < 0:
        raise ConfigurationError(f"--workers is {args.workers}; 0 or more is possible")
    if args.sample_rate < 1:
        raise ConfigurationError(f"--sample-rate is {args.sample_rate}; 1 or more is possible")
    if args.out is not None:
        check_folder(args.out)
    tree = Path(args.corpus)
    if args.corpus == "mini":
        tree = make_mini(args.download or args.out.with_name(f"{args.out.name}-recordings"))
    elif args.corpus == "vctk":
        if args.download is None:
            raise ConfigurationError(
                "--corpus vctk needs --download FOLDER (11 GB); a tree you have is --corpus PATH"
            )
        try:
            tree = download(args.download)
        except CorpusError as error:
            raise CorpusError(
                f"{error}; --corpus mini needs no download, --corpus PATH takes a tree you have"
            ) from None
    if args.out is None:
        print(tree)
        return
    listing = find_corpus(tree, args.mic)
    out = prepare(
        listing,
        args.out,
        sample_rate=args.sample_rate,
        top_db=None if args.no_trim else 40.0,
        workers=args.workers,
        force=args.force,
        in_place=args.in_place,
    )
    print(_table(PackedStore(out), out / SKIPPED))


def _table(store: "PackedStore", skipped: Path) -> str:
    """Return what a person wants to know of a store."""
    from vqspeech.corpus.manifest import SPLITS
    from vqspeech.corpus.store import WARNED

    how = "prepared in place" if store.in_place else "packed"
    lines = [f"{store.corpus}, {how} at {store.sample_rate} Hz in {store.path}"]
    lines.append(f"{'split':<8}{'speakers':>10}{'utterances':>12}{'hours':>9}")
    rows = [(split, [u for u in store.utterances if u.split == split]) for split in SPLITS]
    for split, chosen in (*rows, ("all", store.utterances)):
        speakers = len({u.speaker for u in chosen})
        hours = sum(u.samples for u in chosen) / store.sample_rate / 3600
        lines.append(f"{split:<8}{speakers:>10}{len(chosen):>12}{hours:>9.2f}")
    warned = skipped.with_name(WARNED)
    if warned.is_file() and (count := _entries(warned)):
        lines.append(f"warned of: {count}, listed in {warned}")
    lines.append(f"skipped: {_entries(skipped)}, listed with reasons in {skipped}")
    return "\n".join(lines)


def _entries(table: Path) -> int:
    """Count the lines of a table below the first."""
    with table.open(encoding="utf-8") as file:
        return sum(1 for _ in file) - 1
