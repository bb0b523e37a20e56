"""``vqspeech convert``: the same words in another voice."""

import argparse
from pathlib import Path

from vqspeech.cli.files import Failures, Source, find_sources, sound_outputs
from vqspeech.cli.options import (
    add_model_arguments,
    add_pitch_argument,
    add_pitch_shift_argument,
    add_sampling_arguments,
    add_speaker_argument,
    check_pitch,
    open_model,
    sampling_of,
)

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
    add_speaker_argument(parser)
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a sound file for one conversion, else a folder, mirrored from the sources; - writes wav to"
        " standard output as it is made (default: SOURCE-SPEAKER.wav in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_pitch_argument(parser)
    add_pitch_shift_argument(parser)
    add_sampling_arguments(parser)
    add_model_arguments(parser)


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
    model = open_model(args)
    check_pitch(args, model)

    from vqspeech.cli.codes import tell_all
    from vqspeech.cli.render import Job, engine_note, render, speakers_named

    speakers = speakers_named(args.speaker, model)
    stems = [Path(source.mirror.with_suffix("")) for source in sources]
    own = [source.path for source in sources]
    failures = Failures(len(stems) * len(speakers))
    outputs = sound_outputs(stems, speakers, args.out, failures, force=args.force, sources=own)
    sampling = sampling_of(args)
    note = engine_note(model, sampling)
    places: dict[Source, list[tuple[str, Path]]] = {}
    for number, path in enumerate(outputs):
        if path is not None:
            place = speakers[number % len(speakers)], path
            places.setdefault(sources[number // len(speakers)], []).append(place)
    voiced = model.decoder.pitch is not None
    tracked = voiced and args.pitch != "predicted"
    jobs = []
    for source, encoded in tell_all(model, list(places), failures, len(speakers), tracked=tracked):
        for speaker, path in places[source]:
            contour = None
            if voiced:
                contour = model.contour(encoded.codes, speaker, encoded.contour, args.pitch_shift)
            jobs.append(Job(encoded.codes, speaker, encoded.samples, path, args.seed, contour))
    render(model, jobs, sampling, note, failures)
    failures.finish("converted")
