"""The errors a person can cause and mend; the text of each is one line saying what, where and what to do."""

import sys
from collections.abc import Callable


class VqspeechError(Exception):
    """Root of every error this package raises on purpose."""


class AudioError(VqspeechError):
    """A sound file cannot be read or written."""


class CorpusError(VqspeechError):
    """A corpus, manifest, archive or packed store is not what it should be."""


class ModelFileError(VqspeechError):
    """A model file or training state is damaged, foreign or of another architecture."""


class ConfigurationError(VqspeechError):
    """A setting has an impossible value or an unknown name."""


class CodesError(VqspeechError):
    """A file of codes is damaged, or holds the codes of another model."""


def exit_status(program: str) -> Callable[[Callable[[], None]], Callable[[], int]]:
    """Have a program's function return its exit status: 0, or 1 after an error, which is told in one line."""

    def decorate(work: Callable[[], None]) -> Callable[[], int]:
        def run() -> int:
            try:
                work()
            except VqspeechError as error:
                print(f"{program}: {error}", file=sys.stderr)
                return 1
            return 0

        return run

    return decorate
