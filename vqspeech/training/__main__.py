"""``python -m vqspeech.training config.json``: train from a resolved configuration, without Hydra."""

import argparse
import sys

from vqspeech.errors import exit_status
from vqspeech.training.config import read_config
from vqspeech.training.kinds import configured, run_training


@exit_status("vqspeech")
def main() -> None:
    """Train from the configuration file named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m vqspeech.training", description=__doc__)
    parser.add_argument(
        "config", help="resolved configuration, as config.json in the folder of a run"
    )
    arguments = parser.parse_args()
    run_training(read_config(arguments.config, configured))


if __name__ == "__main__":
    sys.exit(main())
