"""``vqspeech pack``: a store and its codes in a few compressed files, to train where there is no sound library."""

import argparse
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.options import add_model_arguments, check_codes, model_name, number, open_model

if TYPE_CHECKING:
    from vqspeech.corpus.store import PackedStore
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.training.data.codestore import CodeStore

HELP = "a store and its codes in a few small files, to train elsewhere"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument("store", type=Path, help="what vqspeech prepare made")
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="the pack")
    parser.add_argument(
        "--part-mb",
        type=number(lambda value: 0.01 <= value < math.inf, "of 0.01 or more"),
        default=40.0,
        metavar="MB",
        help="no file is larger than that many million bytes (default: 40)",
    )
    parser.add_argument(
        "--codes",
        type=Path,
        metavar="FOLDER",
        help="codes of the store, as training a prior leaves them; made and kept there if there are none"
        " (default: made, and not kept)",
    )
    parser.add_argument(
        "--pitch",
        type=Path,
        metavar="FILE",
        help="pitch tracks of the store, which go along (default: the store's own, where it has some)",
    )
    parser.add_argument("--force", action="store_true", help="replace a pack in --out")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Pack the store that `args` name, read it back and print what is in it.

    Raises
    ------
    ConfigurationError
        When ``--out`` is taken or nothing can be made there.
    CorpusError
        When the store cannot be read, or the codes are not those of the store and the model.
    VqspeechError
        When the model has no codes.
    """
    from vqspeech.cli.files import check_folder
    from vqspeech.corpus.store import PackedStore
    from vqspeech.training.data.coded import CodedStore
    from vqspeech.training.data.pack import Pack
    from vqspeech.training.data.packing import require_place, write_pack
    from vqspeech.training.data.pitchtracks import FILE, open_tracks

    require_place(args.out, args.force)
    check_folder(args.out.absolute().parent)
    store = PackedStore(args.store)
    own = store.path / FILE
    tracks = args.pitch or (own if own.is_file() else None)
    if tracks is not None:
        open_tracks(store, str(tracks))
    model, name = open_model(args), model_name(args)
    check_codes(model, name)
    with tempfile.TemporaryDirectory(prefix="vqspeech-codes-") as scratch:
        coded = _codes(model, store, args.codes or Path(scratch))
        write_pack(
            CodedStore(store, coded, model.config.levels),
            args.out,
            origin=store.corpus,
            model=name,
            part_bytes=int(args.part_mb * 1e6),
            tracks=tracks,
            force=args.force,
        )
    print(Pack(args.out).summary())


def _codes(model: "Autoencoder", store: "PackedStore", folder: Path) -> "CodeStore":
    """Return the codes in a folder, however many shifts it holds, or extract them."""
    from vqspeech.training.data.codestore import INDEX, CodeStore, extract_codes

    shifts = CodeStore(folder).shifts if (folder / INDEX).is_file() else 1
    return extract_codes(model, store, folder, shifts)
