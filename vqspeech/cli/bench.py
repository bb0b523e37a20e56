"""``vqspeech bench``: how fast the engines run here, and how far each is from the parallel pass."""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqspeech.cli import options
from vqspeech.cli.files import Source, check_folder, check_outputs, find_sources
from vqspeech.errors import ConfigurationError
from vqspeech.jobs.atomic import write_file

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.sampling.measure import Passage, Row, Subject

HELP = "how fast the engines run here, and how exact they are"

MOST_FILES = 4
"""Files of speech that are listened to, spread over those that were named."""

HEAD_S = 10.0
"""Seconds of a file from whose middle the speech is taken: recordings begin with silence, and some last hours."""

_COLUMNS = (
    ("engine", "engine", "{}"),
    ("mode", "mode", "{}"),
    ("streams", "streams", "{}"),
    ("threads", "threads", "{}"),
    ("pitch taps", "pitch_taps", "{}"),
    ("samples/s", "samples_per_s", "{:,.0f}"),
    ("x real time", "x_real_time", "{:.2f}"),
    ("x reference", "x_reference", "{:.1f}"),
    ("max |dlogit|", "max_abs_dlogit", "{:.1e}"),
    ("KL, nats", "kl_nats", "{:.1e}"),
    ("dNLL, nats", "delta_nll_nats", "{:+.1e}"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--engine",
        type=_names,
        default=(),
        metavar="NAME[,NAME...]",
        help="engines to measure (default: all that run here); one stream of the reference engine is always"
        " measured too",
    )
    parser.add_argument(
        "--mode",
        type=_names,
        default=(),
        metavar="NAME[,NAME...]",
        help="arithmetics to measure (default: all that the engines have)",
    )
    parser.add_argument(
        "--streams",
        type=_counts,
        default=(),
        metavar="N[,N...]",
        help="recordings drawn together (default: one and a few that suit the engine)",
    )
    parser.add_argument(
        "--threads",
        type=_counts,
        default=(),
        metavar="N[,N...]",
        help="CPU threads of the engines that use them (default: 1, and 2 where there are two cores)",
    )
    parser.add_argument(
        "--rounds",
        type=_count,
        default=5,
        metavar="N",
        help="each times every row once; medians are shown (default: 5)",
    )
    parser.add_argument(
        "--seconds",
        type=options.number(lambda value: 0 < value <= 60, "above 0 and at most 60"),
        default=0.5,
        metavar="S",
        help="about what one timing takes, so that a slow row draws fewer samples (default: 0.5)",
    )
    parser.add_argument(
        "--speech",
        nargs="+",
        action="extend",
        metavar="FILE|FOLDER",
        help=f"real speech to measure the accuracy on, of up to {MOST_FILES} files (default: what the model draws)",
    )
    parser.add_argument(
        "--speech-seconds",
        type=options.number(lambda value: 0 < value <= 60, "above 0 and at most 60"),
        default=1.0,
        metavar="S",
        help="of each file, from the middle of its first ten seconds (default: 1)",
    )
    parser.add_argument(
        "--speaker", metavar="NAME", help="whose voice is decoded (default: the model's first)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the table as a list of objects too")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    options.add_model_arguments(parser, otherwise="random weights of the reference size")


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


_count = options.whole_number(1, 2**15, "from 1 to 2^15 - 1")


def _counts(text: str) -> tuple[int, ...]:
    return tuple(_count(part.strip()) for part in text.split(","))


def model_subject(model: "Autoencoder", speaker: str) -> "Subject":
    """Return the decoder of a model, to be measured under random codes, or latents, that are always the same."""
    import torch

    from vqspeech.sampling.measure import Subject

    generator = torch.Generator().manual_seed(0)
    if model.discrete:
        conditioning = torch.randint(model.codebook_size, (256,), generator=generator)
    else:
        conditioning = torch.randn(model.config.dim, 256, generator=generator)
    decoder = model.decoder
    condition, lag, _ = model.condition(conditioning, speaker)
    return Subject(decoder.wavenet, condition, decoder.condition_hop, model.sample_rate, lag)


def speech_passage(model: "Autoencoder", path: Path, speaker: str, seconds: float) -> "Passage":
    """Return levels of a piece of real speech, and the condition that its own codes lead to.

    The piece is from the middle of the first `HEAD_S` of the file; all of it where it is shorter.

    Raises
    ------
    AudioError
        When the file cannot be read.
    """
    import torch

    from vqspeech.audio.mulaw import mulaw_encode
    from vqspeech.sampling.measure import Passage

    head = _head(path, model.sample_rate, max(seconds, HEAD_S))
    samples = min(len(head), max(1, round(seconds * model.sample_rate)))
    start = (len(head) - samples) // 2
    wav = head[start : start + samples]
    levels = mulaw_encode(torch.from_numpy(wav), model.config.levels)
    condition, lag, _ = model.condition(model.conditioning(wav), speaker)
    return Passage(condition, levels, lag)


def _head(path: Path, sample_rate: int, seconds: float) -> "np.ndarray":
    import numpy as np

    from vqspeech import audio

    wanted, held, blocks = round(seconds * sample_rate), 0, []
    for block in audio.read_blocks(path, sample_rate):
        blocks.append(block)
        held += len(block)
        if held >= wanted:
            break
    return np.concatenate(blocks)[:wanted]


def _spread(sources: Sequence[Source]) -> list[Path]:
    """As many of the sources as are listened to, at equal distances."""
    step = -(-len(sources) // MOST_FILES)
    return [source.path for source in sources[::step]]


def _machine(device: "torch.device") -> str:
    """The processor, its usable cores, the version of torch, and the GPU if that is where the model is."""
    import torch

    from vqspeech.sampling import usable_threads

    name = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        entries = [line.partition(":") for line in information.read_text().splitlines()]
        named = [value.strip() for key, _, value in entries if key.strip() == "model name"]
        name = named[0] if named else name
    cores = usable_threads()
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{name}, {cores} core{'s' * (cores > 1)} usable, torch {torch.__version__}"


def _cell(value: Any, text: str) -> str:
    return text.format(("no", "yes")[value] if isinstance(value, bool) else value)


def _table(rows: "Sequence[Row]") -> str:
    lines = [[title for title, _, _ in _COLUMNS]]
    lines += [[_cell(getattr(row, key), text) for _, key, text in _COLUMNS] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # names to the left, numbers to the right
    sides = ["<" if key in ("engine", "mode", "pitch_taps") else ">" for _, key, _ in _COLUMNS]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True)
        )
        for line in lines
    )


def run(args: argparse.Namespace) -> None:
    """Measure what `args` name and print it.

    Raises
    ------
    ConfigurationError
        When an engine or mode is not there, speech has no model, or the output exists.
    VqspeechError
        When the model or the speech cannot be read, or the model does not know the speaker.
    """
    sources = find_sources(args.speech or [])
    if args.json:
        check_folder(Path(args.json).parent)
        check_outputs(
            [Path(args.json)], force=args.force, sources=[source.path for source in sources]
        )
    named = bool(args.model or os.environ.get(options.MODEL_VARIABLE))
    for option in ("speech", "speaker"):
        if getattr(args, option) and not named:
            raise ConfigurationError(
                f"--{option}: random weights encode and speak noise; name a model with --model"
            )

    from vqspeech.jobs.progress import Progress
    from vqspeech.sampling import ENGINES
    from vqspeech.sampling.measure import (
        OWN_SAMPLES,
        measure,
        own_passage,
        pieces,
        plan,
        reference_subject,
    )

    heard = _spread(sources) if sources else []
    spoken: list[Passage] = []
    if named:
        model = options.open_model(args)
        speaker = args.speaker or model.speakers[0]
        subject = model_subject(model, speaker)
        spoken = [speech_passage(model, path, speaker, args.speech_seconds) for path in heard]
        subjects = {subject.pitch_taps: subject}
        what = f"{options.model_name(args)}: {subject.sample_rate} Hz, {subject.hop} samples a condition"
    else:
        device = options.find_device(args)
        subjects = {taps: reference_subject(device, pitch_taps=taps) for taps in (False, True)}
        what = (
            "random weights of the reference size; name a model with --model for its own figures\n"
            "pitch taps: random weights too, with random lags of 60 to 400 Hz in three frames of five"
        )
    device = next(iter(subjects.values())).condition.device
    cases = plan(
        device,
        engines=args.engine,
        modes=args.mode,
        streams=args.streams,
        threads=args.threads,
        pitch_taps=list(subjects),
    )
    print(what)
    print(_machine(device), flush=True)
    reasons = {name: engine.unavailable_reason(device) for name, engine in ENGINES.items()}
    absent = [f"{name} ({reason})" for name, reason in reasons.items() if reason]
    if absent:
        print(f"cannot run here: {', '.join(absent)}")
    passages = {
        taps: spoken or [own_passage(subject, OWN_SAMPLES)] for taps, subject in subjects.items()
    }
    with Progress(pieces(cases, args.rounds), "measurements", "measuring") as progress:
        rows = measure(
            subjects,
            cases,
            passages,
            rounds=args.rounds,
            seconds=args.seconds,
            tick=progress.update,
        )
    print(f"\n{_table(rows)}\n")
    print(
        f"speeds: medians of {args.rounds} interleaved rounds; x reference: beside one stream of the"
        " reference engine on one thread"
    )
    samples = sum(len(passage.levels) for passage in next(iter(passages.values())))
    on = ", ".join(map(str, heard)) or "the model's own samples"
    print(f"logits, KL and NLL: against the parallel pass on {on} ({samples:,} samples)")
    if args.json:
        text = json.dumps([asdict(row) for row in rows], indent=2) + "\n"
        write_file(Path(args.json), text)
