"""What several verbs take: which model, on which device, how to sample."""

import argparse
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vqspeech.errors import ConfigurationError, ModelFileError, VqspeechError
from vqspeech.models import pretrained

if TYPE_CHECKING:
    import torch

    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.models.prior import Prior
    from vqspeech.sampling.engine import Sampling

MODEL_VARIABLE = "VQSPEECH_MODEL"

ENGINE_CHOICES = ("auto", "cuda", "native", "reference")
"""What ``--engine`` takes: auto and the names in `vqspeech.sampling.ENGINES`, whose import would bring in torch."""


MODEL_METAVAR = "NAME|FILE"

MODEL_HELP = f"a shipped model ({', '.join(pretrained.NAMES)}), a model file, or owner/name on the Hugging Face Hub"


def add_model_argument(
    parser: argparse.ArgumentParser, use: str = "", otherwise: str = pretrained.DEFAULT
) -> None:
    """Add ``--model``; `use` may say what for, `otherwise` what serves when no model is named."""
    parser.add_argument(
        "--model",
        metavar=MODEL_METAVAR,
        help=f"{MODEL_HELP}{use} (default: the variable {MODEL_VARIABLE}, else {otherwise})",
    )


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one, else cpu)"
    )


def add_model_arguments(
    parser: argparse.ArgumentParser, otherwise: str = pretrained.DEFAULT
) -> None:
    """Add ``--model`` and ``--device``; `otherwise` says what serves when no model is named."""
    add_model_argument(parser, otherwise=otherwise)
    add_device_argument(parser)


def add_speaker_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--speaker``, which may be given more than once, with several names each time."""
    parser.add_argument(
        "--speaker",
        action="append",
        required=True,
        metavar="NAME[,NAME...]",
        help="whose voice; vqspeech info lists the speakers",
    )


def add_pitch_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--pitch``."""
    parser.add_argument(
        "--pitch",
        choices=("source", "predicted", "drawn"),
        help="pitch contour of a model that takes one: that of the recording, moved to the mean and deviation of the"
        " speaker's F0; or, from codes and speaker, a mean one (predicted), or one drawn with --seed from the"
        " distribution that it learned (default: source)",
    )


def add_pitch_shift_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--pitch-shift``."""
    parser.add_argument(
        "--pitch-shift",
        type=number(lambda value: abs(value) <= 24, "from -24 to 24"),
        default=0.0,
        metavar="SEMITONES",
        help="raise or lower the voice, of a model that takes pitch (default: 0)",
    )


def check_pitch(args: argparse.Namespace, model: "Autoencoder") -> None:
    """Refuse options of pitch for a model that has no part for them.

    Raises
    ------
    ConfigurationError
        When there is such an option.
    """
    if model.decoder.pitch is not None:
        if getattr(args, "pitch", None) == "drawn" and model.decoder.contours is None:
            raise ConfigurationError(
                f"--pitch drawn: {model_name(args)} has no distribution of pitch contours; use predicted"
            )
        return
    given = [f"--pitch {args.pitch}"] if getattr(args, "pitch", None) else []
    shift = getattr(args, "pitch_shift", 0.0)
    given += [f"--pitch-shift {shift:g}"] if shift else []
    if given:
        raise ConfigurationError(
            f"{given[0]}: {model_name(args)} takes no pitch; vqspeech info says which models do"
        )


def add_sampling_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed`` and what `sampling_of` reads."""
    add_seed_argument(parser)
    add_draw_arguments(parser, "levels")
    add_engine_arguments(parser)


def add_seed_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--seed``."""
    # The generators take 64 bits.
    seed = whole_number(0, 2**63, "from 0 to 2^63 - 1")
    parser.add_argument("--seed", type=seed, default=0, help="of the sampler (default: 0)")


def add_draw_arguments(parser: argparse.ArgumentParser, drawn: str, prefix: str = "") -> None:
    """Add ``--temperature`` and ``--top-p`` of what is drawn, with a prefix where there are two kinds of that."""
    parser.add_argument(
        f"--{prefix}temperature",
        type=number(lambda value: 0 <= value < math.inf, "from 0 up"),
        default=1.0,
        metavar="T",
        help=f"below 1 likely {drawn} become likelier; 0 always takes the likeliest (default: 1)",
    )
    parser.add_argument(
        f"--{prefix}top-p",
        type=number(lambda value: 0 < value <= 1, "above 0 and at most 1"),
        default=1.0,
        metavar="P",
        help=f"draw from the fewest {drawn} that hold this much probability, above 0 and at most 1"
        f" (default: 1, all {drawn})",
    )


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--post-filter``, ``--engine``, ``--mode`` and ``--threads``."""
    parser.add_argument(
        "--post-filter",
        type=number(lambda value: 0 <= value <= 1, "from 0 to 1"),
        default=1.0,
        metavar="S",
        help="how far the spectrum of what was drawn is moved to the one that the decoder predicts, and noise between"
        " the harmonics of a voiced sound taken away: from 0, the WaveNet alone, to 1 (default: 1)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINE_CHOICES,
        default="auto",
        help="what runs the decoder one sample at a time (default: auto, the fastest here)",
    )
    parser.add_argument(
        "--mode",
        default="auto",
        help="arithmetic of the engine: fp32, bf16, int8, graph; which of them depends on the engine"
        " (default: auto, the first it has)",
    )
    parser.add_argument(
        "--threads",
        type=whole_number(1, 2**15, "from 1 to 2^15 - 1"),
        metavar="N",
        help="CPU threads of the engine; they change no sample (default: as many as may be used, one for a single"
        " recording, which a second one helps only while no other program wants that core)",
    )


def sampling_of(args: argparse.Namespace, prefix: str = "") -> "Sampling":
    """Return how `args` want levels to be drawn; `prefix` is that of ``--temperature`` and ``--top-p``."""
    from vqspeech.sampling.engine import Sampling

    before = prefix.replace("-", "_")
    return Sampling(
        temperature=getattr(args, f"{before}temperature"),
        top_p=getattr(args, f"{before}top_p"),
        engine=args.engine,
        mode=args.mode,
        threads=args.threads,
        post_filter=args.post_filter,
    )


def number(fits: Callable[[float], bool], wanted: str) -> Callable[[str], float]:
    """Return a parser of numbers that refuses those that do not fit, saying what is `wanted`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number {wanted}")
        return value

    return parse


def whole_number(least: int, end: int, wanted: str) -> Callable[[str], int]:
    """Return a parser of whole numbers in [least, end) that refuses others, saying what is `wanted`."""

    def parse(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) < 20
        if not (digits and least <= int(text) < end):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {wanted}")
        return int(text)

    return parse


def default_model() -> str:
    """Return the model that serves when none is named: the variable's, else the shipped default."""
    return os.environ.get(MODEL_VARIABLE) or pretrained.DEFAULT


def model_name(args: argparse.Namespace) -> str:
    """Return the model as the person named it, or the default one."""
    return str(args.model or default_model())


def open_model(args: argparse.Namespace) -> "Autoencoder":
    """Load the model that `args` name, in evaluation mode, on the device they name.

    Raises
    ------
    ConfigurationError
        When the device is not there.
    ModelFileError
        When there is no such model, or the file is not one.
    """
    import torch

    import vqspeech
    from vqspeech.jobs.workers import usable_threads

    # Torch counts the cores of the machine, not those that a control group grants.
    torch.set_num_threads(min(torch.get_num_threads(), usable_threads()))
    device = find_device(args)
    return vqspeech.load(model_name(args)).to(device)


def check_codes(model: "Autoencoder", name: str) -> None:
    """Check that a model has codes.

    Raises
    ------
    ModelFileError
        Naming the model when it has none.
    """
    try:
        _ = model.quantizer
    except VqspeechError as error:
        raise ModelFileError(f"{name}: {error}") from None


def add_prior_argument(parser: argparse.ArgumentParser, use: str = "") -> None:
    """Add ``--prior``; `use` may say what for."""
    parser.add_argument(
        "--prior",
        metavar=MODEL_METAVAR,
        help=f"a prior over the model's codes{use} (default: MODEL-prior.safetensors beside the model, else the shipped"
        " one over the same codes)",
    )


def find_prior(named: str | None, model: "Autoencoder", name: str) -> "Prior | None":
    """Load a prior over the codes of a model called `name`, where there is one.

    Where ``--prior`` named none, the file beside that of the model serves, ``model-prior.safetensors``, else the
    shipped prior that was trained on the model's codebook, as that of a model with new voices was.

    Raises
    ------
    ModelFileError
        The file is none.
    VqspeechError
        The prior that was named was trained on the codes of another codebook.
    """
    from vqspeech.models.checkpoint import load_prior, read_prior_header
    from vqspeech.models.prior import check_fits

    if named is not None:
        prior = load_prior(named)
        check_fits(prior, model)
        return prior
    for path in _priors_at_hand(name):
        if read_prior_header(path)["config"].get("codebook_id") == model.codebook_id:
            return load_prior(path)
    return None


def open_prior(named: str | None, model: "Autoencoder", name: str) -> "Prior":
    """Load a prior over the codes of a model; see `find_prior`.

    Raises
    ------
    ModelFileError
        There is none, or the file is none.
    VqspeechError
        It was trained on the codes of another codebook.
    """
    prior = find_prior(named, model, name)
    if prior is None:
        beside = pretrained.prior_beside(pretrained.find(name))
        raise ModelFileError(
            f"{name}: no prior over the codes of this model, neither {beside} nor a shipped one; train one with"
            f" vqspeech train --config-name prior, or name its file with --prior"
        )
    return prior


def prior_finder(named: str | None, name: str) -> "Callable[[str], Prior | None]":
    """Return what gives the prior that a .vqc file was written with, by its id.

    It is the one that ``--prior`` named, whatever its id, else one beside the model called `name` or a shipped one.
    """

    @cache
    def load(path: str | Path) -> "Prior":
        from vqspeech.models.checkpoint import load_prior

        return load_prior(path)

    def find(prior_id: str) -> "Prior | None":
        if named is not None:
            return load(named)
        priors = map(load, _priors_at_hand(name))
        return next((prior for prior in priors if prior.prior_id.startswith(prior_id)), None)

    return find


def _priors_at_hand(name: str) -> list[Path]:
    """Return the files of priors that are there: beside a model, and shipped."""
    models = [pretrained.find(name), *map(pretrained.path, pretrained.names())]
    return [path for path in map(pretrained.prior_beside, models) if path.is_file()]


def find_device(args: argparse.Namespace) -> "torch.device":
    """Return the device that `args` name, or the best there is.

    Raises
    ------
    ConfigurationError
        When it is not there.
    """
    import torch

    available = torch.cuda.is_available()
    wanted = args.device or ("cuda" if available else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigurationError(f"unknown device {wanted!r}: cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not (
        available and (device.index or 0) < torch.cuda.device_count()
    ):
        count = torch.cuda.device_count() if available else 0
        raise ConfigurationError(f"--device {wanted}: {count} CUDA devices here; use --device cpu")
    return device


@contextmanager
def coding_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give out what shows how many codes are done, out of how many; nothing is shown before it is called."""
    from vqspeech.jobs.progress import Progress

    with ExitStack() as opened:
        bar: Progress | None = None

        def tell(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = opened.enter_context(Progress(total, "codes", what))
            bar.update(done - bar.done)

        yield tell
