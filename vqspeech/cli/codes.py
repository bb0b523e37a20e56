"""``vqspeech codes``: recordings to codes, block by block, so that hours of sound take constant memory."""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli.files import Failures, Source, check_folder, check_outputs, find_sources, inside
from vqspeech.cli.options import add_model_arguments, check_codes, model_name, open_model
from vqspeech.errors import ConfigurationError, VqspeechError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vqspeech.model import Autoencoder
    from vqspeech.progress import Progress

HELP = "recordings to discrete codes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "sources", nargs="+", metavar="FILE|FOLDER", help="sound files, or folders to search"
    )
    parser.add_argument(
        "--format",
        choices=("json", "npz", "textgrid"),
        default="json",
        help="json: one object a line on standard output, or a file each under --out (default)",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="write one file for each recording; folders are mirrored"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_model_arguments(parser)


def tell_file(
    model: "Autoencoder", path: Path, progress: "Progress | None" = None
) -> "tuple[torch.Tensor, int]":
    """Read one sound file in constant memory for the decoder.

    Parameters
    ----------
    model : Autoencoder
        The model.
    path : Path
        Any file that `vqspeech.audio` reads.
    progress : Progress, optional
        Told the samples read, at the model's rate.

    Returns
    -------
    told : Tensor
        What the decoder is told of it: codes, int64, (frames,), or, of a model without codes, latents, (dim, frames).
    samples : int
        Its length at the model's rate.

    Raises
    ------
    AudioError
        When the file cannot be read.
    """
    import torch

    from vqspeech import audio

    samples = 0

    def counted(blocks: "Iterable[np.ndarray]") -> "Iterator[np.ndarray]":
        nonlocal samples
        for block in blocks:
            samples += len(block)
            if progress is not None:
                progress.update(len(block))
            yield block

    parts = list(model.tell_blocks(counted(audio.read_blocks(path, model.sample_rate))))
    return torch.cat(parts, -1), samples


def tell_all(
    model: "Autoencoder", sources: list[Source], failures: Failures
) -> "Iterator[tuple[Source, torch.Tensor, int]]":
    """Apply `tell_file` to `sources` in turn with progress; one that cannot be read goes to `failures`."""
    from vqspeech import audio
    from vqspeech.progress import Progress

    readable: list[Source] = []
    total = 0
    for source in sources:
        try:
            found = audio.info(source.path)
        except VqspeechError as error:
            failures.add(error)
        else:
            readable.append(source)
            total += round(found.duration_s * model.sample_rate)
    with Progress(total, "samples", "encoding") as progress:
        for source in readable:
            try:
                told, samples = tell_file(model, source.path, progress)
            except VqspeechError as error:
                failures.add(error)
            else:
                yield source, told, samples


def run(args: argparse.Namespace) -> None:
    """Encode what `args` name.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist.
    ModelFileError
        When the model has no codes.
    VqspeechError
        After all other files are done, when some could not be encoded.
    """
    from vqspeech import codesfile

    if args.out is None and args.format != "json":
        raise ConfigurationError(f"--format {args.format} writes files: name a folder with --out")
    sources = find_sources(args.sources)
    places: dict[Path, Path] = {}
    if args.out is not None:
        check_folder(Path(args.out))
        suffix = codesfile.SUFFIXES[args.format]
        outputs = [inside(Path(args.out), source.mirror.with_suffix(suffix)) for source in sources]
        check_outputs(outputs, force=args.force, sources=[source.path for source in sources])
        places = dict(zip((source.path for source in sources), outputs, strict=True))
    name = model_name(args)
    model = open_model(args)
    check_codes(model, name)
    failures = Failures(len(sources))
    for source, codes, samples in tell_all(model, sources, failures):
        record = codesfile.CodesRecord(
            file=str(source.path),
            codes=codes.tolist(),
            hop=model.hop,
            sample_rate=model.sample_rate,
            samples=samples,
            codebook_size=model.codebook_size,
            model=name,
        )
        if places:
            codesfile.write(places[source.path], record, args.format)
        else:
            print(record.to_json(), flush=True)
    failures.finish("encoded")
