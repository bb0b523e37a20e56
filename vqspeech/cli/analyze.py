"""``vqspeech analyze``: what a model's codes say of phones, as a table, a heat map and JSON."""

import argparse
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

from vqspeech.cli.files import check_folder, check_outputs
from vqspeech.cli.options import add_model_arguments, open_model

HELP = "codes against phones: accuracy, information, bit rate"

_OUTPUTS = ("scores.json", "scores.md", "phones.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "--store", required=True, metavar="FOLDER", help="prepared corpus with phone labels"
    )
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help=f"where {', '.join(_OUTPUTS)} go"
    )
    parser.add_argument(
        "--train-minutes",
        type=_minutes,
        default=20.0,
        metavar="N",
        help="how much of the train split the codes are mapped on (default: 20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    add_model_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Score the model that `args` name, write the files and print the table.

    Raises
    ------
    ConfigurationError
        When no model is named, the outputs have no place or exist, or the rates differ.
    CorpusError
        When the store is none or has no labels to hold codes against.
    ModelFileError
        When the file is not a model.
    """
    out = Path(args.out)
    check_folder(out)
    outputs = [out / name for name in _OUTPUTS]
    check_outputs(outputs, force=args.force)

    from vqspeech.analysis.phoneme_report import heat_map, to_json, to_markdown
    from vqspeech.analysis.phoneme_study import study_phonemes
    from vqspeech.corpus.store import PackedStore
    from vqspeech.progress import Progress

    store = PackedStore(Path(args.store))
    model = open_model(args)
    with ExitStack() as stack:
        bar: Progress | None = None

        def report(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(Progress(total, "utterances", "encoding"))
            bar.update(done - bar.done)

        study = study_phonemes(
            model, store, train_minutes=args.train_minutes, seed=args.seed, progress=report
        )
    table = to_markdown(study)
    image = BytesIO()
    heat_map(study).savefig(image, format="png")
    contents = (to_json(study).encode(), table.encode(), image.getvalue())
    out.mkdir(parents=True, exist_ok=True)
    for path, content in zip(outputs, contents, strict=True):
        _replace(path, content)
    print(table)
    for path in outputs:
        print(path)


def _minutes(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
