"""``python -m vqspeech``: the same as the command ``vqspeech``."""

import sys

from vqspeech.cli import main

sys.exit(main())
