"""``vqspeech convert``: the same words in another voice."""

import argparse
from pathlib import Path

from vqspeech.cli.files import Failures, Source, check_outputs, find_sources, plan_sounds
from vqspeech.cli.options import (
    add_model_arguments,
    add_sampling_arguments,
    model_name,
    open_model,
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
        help="sound files, or folders to search",
    )
    parser.add_argument(
        "--speaker",
        action="append",
        required=True,
        metavar="NAME[,NAME...]",
        help="whose voice; vqspeech info lists the speakers",
    )
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a sound file for one conversion, else a folder, mirrored from the sources"
        " (default: SOURCE-SPEAKER.wav in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_sampling_arguments(parser)
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Convert what `args` name.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist.
    VqspeechError
        When the model does not know a speaker; after all other files are done, when some could not be read.
    """
    sources = find_sources(args.src)
    model = open_model(args)

    import torch

    from vqspeech.cli.codes import encode_all
    from vqspeech.cli.render import Job, render, speakers_named

    speakers = speakers_named(args.speaker, model)
    stems = [Path(source.mirror.with_suffix("")) for source in sources]
    outputs = plan_sounds(stems, speakers, args.out)
    check_outputs(outputs, force=args.force, sources=[source.path for source in sources])
    places: dict[Source, list[Path]] = {
        source: outputs[i * len(speakers) : (i + 1) * len(speakers)]
        for i, source in enumerate(sources)
    }
    failures = Failures(len(sources))
    jobs = [
        Job(torch.tensor(record.codes), speaker, record.samples, path)
        for source, record in encode_all(model, sources, model_name(args), failures)
        for speaker, path in zip(speakers, places[source], strict=True)
    ]
    render(model, jobs, args)
    failures.finish("converted")
