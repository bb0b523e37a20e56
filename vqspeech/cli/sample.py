"""``vqspeech sample``: new speech, or continuations of a recording: codes sampled from the prior, then decoded."""

import argparse
import logging
import math
from pathlib import Path

from vqspeech.cli import options
from vqspeech.cli.files import Failures, sound_outputs
from vqspeech.errors import ConfigurationError

log = logging.getLogger("vqspeech")

HELP = "new speech from the prior, or how a recording might go on"

DECODER = "decoder-"
"""What stands before the options of the decoder, where the prior has the like."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    options.add_speaker_argument(parser)
    parser.add_argument(
        "--seconds",
        type=options.number(lambda value: 0 < value < math.inf, "above 0"),
        default=5.0,
        metavar="S",
        help="new speech (default: 5)",
    )
    parser.add_argument(
        "--prompt",
        metavar="FILE",
        help="a recording to go on from; what is written begins with it, in the voice of --speaker",
    )
    parser.add_argument(
        "--count",
        type=options.whole_number(1, 2**31, "from 1 up"),
        default=1,
        metavar="N",
        help="make so many, with as many seeds from --seed on (default: 1)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a sound file for one sample, else a folder; - writes wav to standard output as it is decoded"
        " (default: sample-SEED-SPEAKER.wav, or PROMPT-SEED-SPEAKER.wav, in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_seed_argument(parser)
    options.add_draw_arguments(parser, "codes")
    options.add_draw_arguments(parser, "levels of the decoder", DECODER)
    options.add_engine_arguments(parser)
    options.add_prior_argument(parser)
    options.add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Make what `args` ask for.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist, or the engine cannot run.
    ModelFileError
        When the model has no codes, or there is no prior over them.
    VqspeechError
        When the prior was trained on other codes, or the model does not know a speaker.
    """
    name = options.model_name(args)
    model = options.open_model(args)
    options.check_codes(model, name)

    import torch

    from vqspeech.cli.encode import encode_file
    from vqspeech.cli.render import Job, choose_engine, render, speakers_named
    from vqspeech.jobs.progress import Progress
    from vqspeech.models.decoding import Request
    from vqspeech.models.prior import prompt_codes

    if args.seed + args.count > 2**63:
        raise ConfigurationError(f"--seed {args.seed} leaves no room for --count {args.count}")
    speakers = speakers_named(args.speaker, model)
    seeds = range(args.seed, args.seed + args.count)
    prompt_file = Path(args.prompt) if args.prompt else None
    stem = prompt_file.stem if prompt_file else "sample"
    failures = Failures(len(seeds) * len(speakers))
    outputs = sound_outputs(
        [Path(f"{stem}-{seed}") for seed in seeds],
        speakers,
        args.out,
        failures,
        force=args.force,
        sources=[prompt_file] if prompt_file else [],
    )
    prior = options.open_prior(args.prior, model, name)
    drawing = choose_engine(model, options.sampling_of(args, DECODER))
    for speaker in speakers:
        if speaker not in prior.speakers:
            log.warning(
                "%s is no speaker of the prior: the codes are sampled unconditionally", speaker
            )
    prompt = torch.empty(0, dtype=torch.int64)
    if prompt_file:
        codes, length, _ = encode_file(model, prompt_file)
        prompt = prompt_codes(model, codes, length)
    samples = max(1, round(args.seconds * model.sample_rate))
    frames = -(-samples // model.hop)
    jobs = []
    with Progress(frames * len(outputs), "codes", "drawing codes") as bar:
        pairs = [(seed, speaker) for seed in seeds for speaker in speakers]
        for (seed, speaker), path in zip(pairs, outputs, strict=True):
            if path is None:
                continue
            drawn = prior.sample(
                frames,
                speaker,
                prompt=prompt,
                seed=seed,
                temperature=args.temperature,
                top_p=args.top_p,
                progress=bar.update,
            )
            codes, length = torch.cat([prompt, drawn]), len(prompt) * model.hop + samples
            jobs.append(Job(Request(codes, speaker, length, seed), path))
    render(model, jobs, drawing, failures)
    failures.finish("made")
