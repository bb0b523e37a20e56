"""``vqspeech decode``: codes from a file or from standard input to sound."""

import argparse
import sys
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from vqspeech.cli import options
from vqspeech.cli.files import Failures, sound_outputs
from vqspeech.errors import VqspeechError

if TYPE_CHECKING:
    from vqspeech.codes.record import CodesRecord
    from vqspeech.codes.vqc import PriorFinder

HELP = "codes to recordings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "codes",
        nargs="+",
        metavar="FILE",
        help="what vqspeech codes wrote, JSON, npz, vqc, or a shard (.parquet, .km, .tar; of Lhotse Shar its"
        " cuts.N.jsonl.gz); - reads JSON, npz or vqc from standard input",
    )
    options.add_speaker_argument(parser)
    parser.add_argument(
        "--out",
        metavar="FILE|FOLDER",
        help="a sound file for one recording, else a folder; - writes wav to standard output as it is made"
        " (default: RECORDING-SPEAKER.wav in this folder)",
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_pitch_shift_argument(parser)
    options.add_sampling_arguments(parser)
    options.add_model_arguments(parser)
    options.add_prior_argument(parser, ", with which .vqc files were written")


def _read(name: str, find_prior: "PriorFinder") -> "list[CodesRecord]":
    from vqspeech.codes import files as codesfile

    with options.coding_progress(f"reading {name}") as tell:
        if name == "-":
            return codesfile.parse(sys.stdin.buffer.read(), "standard input", find_prior, tell)
        return codesfile.read(Path(name), find_prior, tell)


def run(args: argparse.Namespace) -> None:
    """Decode the codes that `args` name.

    Raises
    ------
    ConfigurationError
        When the outputs have no place, or exist, or the engine cannot run.
    ModelFileError
        When the model has no codes.
    VqspeechError
        When the model does not know a speaker; after all others are done, when a file is no file of codes, or its
        codes are another model's.
    """
    find_prior = options.prior_finder(args.prior, options.model_name(args))
    failures = Failures(0)
    found: list[CodesRecord] = []
    for name in args.codes:
        try:
            found += _read(name, find_prior)
        except VqspeechError as error:
            failures.attempted += 1
            failures.add(error)
    if not found:
        failures.finish("decoded")
    model = options.open_model(args)
    options.check_codes(model, options.model_name(args))
    options.check_pitch(args, model)
    records = []
    for record in found:
        try:
            record.require_fit(model)
        except VqspeechError as error:
            failures.attempted += 1
            failures.add(error)
        else:
            records.append(record)
    if not records:
        failures.finish("decoded")

    import torch

    from vqspeech.cli.render import Job, choose_engine, render, speakers_named
    from vqspeech.models.decoding import Request

    speakers = speakers_named(args.speaker, model)
    # What a record calls its recording came from elsewhere: only the last part of that path names a file here.
    stems = [Path(PurePath(record.file).stem or "recording") for record in records]
    failures.attempted += len(stems) * len(speakers)
    outputs = sound_outputs(stems, speakers, args.out, failures, force=args.force)
    drawing = choose_engine(model, options.sampling_of(args))
    pairs = [(record, speaker) for record in records for speaker in speakers]
    jobs = []
    for (record, speaker), path in zip(pairs, outputs, strict=True):
        if path is None:
            continue
        codes, contour = torch.tensor(record.codes), None
        if args.pitch_shift:
            contour = model.contour(codes, speaker, semitones=args.pitch_shift)
        jobs.append(Job(Request(codes, speaker, record.samples, args.seed, contour), path))
    render(model, jobs, drawing, failures)
    failures.finish("decoded")
