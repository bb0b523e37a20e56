"""``vqspeech push``: a model, its prior and its card into a repository of the Hugging Face Hub."""

import argparse
from pathlib import Path

from vqspeech.cli.options import add_model_argument, model_name
from vqspeech.errors import ConfigurationError
from vqspeech.models import hub, pretrained

HELP = "a model with its card to the Hugging Face Hub"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of this verb."""
    parser.add_argument(
        "repository", metavar="OWNER/NAME", help="made if it is not there; models are loaded by it"
    )
    add_model_argument(parser, ", sent as it is")
    parser.add_argument(
        "--card",
        type=Path,
        metavar="FILE",
        help="Markdown: what it was trained on, what for, what not (default: NAME.md beside the model)",
    )
    parser.add_argument(
        "--private",
        action="store_true",
        help="a repository that is made is seen by its owner alone",
    )


def run(args: argparse.Namespace) -> None:
    """Send the model that `args` name, and print where it is.

    Raises
    ------
    ConfigurationError
        When there is no card, a package is missing, or the repository has an impossible name.
    ModelFileError
        When there is no such model, or the Hub cannot be reached or does not take it.
    """
    from vqspeech.models.checkpoint import read_header

    name = model_name(args)
    file = pretrained.find(name)
    read_header(file)
    card = args.card.read_text(encoding="utf-8") if args.card else hub.card_of(file)
    if card is None:
        raise ConfigurationError(
            f"{name}: no card beside it; say in {file.with_suffix('.md').name}, or in a file named with --card, what it"
            " was trained on, what it is for, and whose voices it has"
        )
    print(hub.upload(args.repository, file, card, private=args.private))
