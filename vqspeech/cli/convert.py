"""``vqspeech convert``: the same words in another voice."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.cli import options
from vqspeech.cli.files import Failures, Source, find_sources, sound_outputs

if TYPE_CHECKING:
    from vqspeech.cli.encode import Encoded
    from vqspeech.cli.render import Job
    from vqspeech.models.autoencoder import Autoencoder

HELP = "recordings in another speaker's voice"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--src",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE|FOLDER",
        help="sound files, or folders to search; - reads standard input",
    )
    options.add_speaker_argument(parser)
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a sound file for one conversion, else a folder, mirrored from the sources; - writes wav to"
        " standard output as it is made (default: SOURCE-SPEAKER.wav in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_pitch_argument(parser)
    options.add_pitch_shift_argument(parser)
    options.add_sampling_arguments(parser)
    options.add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert what `args` name.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist, the engine cannot run, or the model takes no pitch.
    VqspeechError
        When the model does not know a speaker; after all other files are done, when some could not be read.
    """
    sources = find_sources(args.src)
    model = options.open_model(args)
    options.check_pitch(args, model)

    from vqspeech.cli.encode import encode_all
    from vqspeech.cli.render import choose_engine, render, speakers_named

    speakers = speakers_named(args.speaker, model)
    failures = Failures(len(sources) * len(speakers))
    places = _places(args, sources, speakers, failures)
    drawing = choose_engine(model, options.sampling_of(args))
    tracked = model.decoder.pitch is not None and args.pitch in (None, "source")
    encoded = encode_all(model, list(places), failures, len(speakers), tracked=tracked)
    jobs = [job for source, of in encoded for job in _jobs(args, model, of, places[source])]
    render(model, jobs, drawing, failures)
    failures.finish("converted")


def _places(
    args: argparse.Namespace, sources: list[Source], speakers: list[str], failures: Failures
) -> dict[Source, list[tuple[str, Path]]]:
    """Voices and files of each source of which something can be written."""
    stems = [Path(source.mirror.with_suffix("")) for source in sources]
    own = [source.path for source in sources]
    outputs = sound_outputs(stems, speakers, args.out, failures, force=args.force, sources=own)
    places: dict[Source, list[tuple[str, Path]]] = {}
    pairs = [(source, speaker) for source in sources for speaker in speakers]
    for (source, speaker), path in zip(pairs, outputs, strict=True):
        if path is not None:
            places.setdefault(source, []).append((speaker, path))
    return places


def _jobs(
    args: argparse.Namespace,
    model: "Autoencoder",
    encoded: "Encoded",
    places: list[tuple[str, Path]],
) -> "Iterator[Job]":
    from vqspeech.cli.render import Job
    from vqspeech.models.decoding import Request

    for speaker, path in places:
        contour = None
        if model.decoder.pitch is not None:
            drawn = args.seed if args.pitch == "drawn" else None
            contour = model.contour(
                encoded.codes, speaker, encoded.contour, args.pitch_shift, seed=drawn
            )
        yield Job(Request(encoded.codes, speaker, encoded.samples, args.seed, contour), path)
