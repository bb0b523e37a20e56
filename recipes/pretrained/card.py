"""Write the cards of shipped models: figures from their headers, words from ``NAME.md.in``."""

import argparse
import sys
from pathlib import Path

from vqspeech.errors import exit_status
from vqspeech.models import pretrained
from vqspeech.report.card import write_card

HERE = Path(__file__).parent


@exit_status("card")
def main() -> None:
    """Write the cards of the models that are named, or of all that are there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all that are there")
    args = parser.parse_args()
    for name in args.names or pretrained.names():
        print(write_card(pretrained.FOLDER / f"{name}.safetensors", HERE))


if __name__ == "__main__":
    sys.exit(main())
