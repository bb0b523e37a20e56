"""The command ``vqspeech``: finds the verb, runs its module, turns errors into one line.

A verb is a module of this package with ``HELP`` (one line), ``add_arguments(parser)`` and ``run(args)``. Only the
module of the verb in use is imported, and verbs import what is slow (torch, numba) inside ``run``, so that ``--help``
answers at once.
"""

import argparse
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from vqspeech.cli.caches import prepare_caches
from vqspeech.cli.streams import prepare_streams
from vqspeech.errors import ConfigurationError, VqspeechError
from vqspeech.models.pretrained import DEFAULT

VERBS = (
    "prepare",
    "align",
    "pack",
    "train",
    "codes",
    "decode",
    "convert",
    "sample",
    "demo",
    "info",
    "export",
    "push",
    "bench",
    "analyze",
    "evaluate",
)

_EXTRAS = {
    **dict.fromkeys(("hydra", "lightning", "pooch", "tensorboard", "torchaudio"), "train"),
    **dict.fromkeys(("jinja2", "librosa", "matplotlib", "numba", "scipy", "sklearn"), "analysis"),
}
"""Modules that only some verbs need, and the extra that brings each."""

_INTERRUPTED = 130
_BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (see: {self.prog} --help)")


def _verb_module(verb: str) -> ModuleType:
    return importlib.import_module(f"vqspeech.cli.{verb}")


def _overview() -> str:
    lines = [f"  {verb:<9}{_verb_module(verb).HELP}" for verb in VERBS]
    return "\n".join(
        [
            "usage: vqspeech VERB ...",
            "",
            "Speech to discrete codes, and codes plus a speaker to speech.",
            "",
            *lines,
            "",
            "vqspeech VERB --help tells the rest.",
            f"VQSPEECH_MODEL names a model in place of --model; without either it is {DEFAULT}.",
            "VQSPEECH_TRACEBACK=1 shows where an error came from.",
        ]
    )


def _dispatch(argv: Sequence[str]) -> int:
    verb, *rest = argv or [""]
    if verb in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if verb in ("-V", "--version"):
        from vqspeech import __version__

        print(f"vqspeech {__version__}")
        return 0
    if verb not in VERBS:
        found = f"unknown verb {verb!r}" if verb else "no verb given"
        raise ConfigurationError(f"{found}: one of {', '.join(VERBS)} (see: vqspeech --help)")
    module = _verb_module(verb)
    parser = _Parser(prog=f"vqspeech {verb}", description=module.HELP)
    module.add_arguments(parser)
    module.run(parser.parse_args(rest))
    return 0


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    """Tell an error of the system in a thread, such as that which writes for TensorBoard, in one line."""
    if isinstance(ended.exc_value, OSError) and os.environ.get("VQSPEECH_TRACEBACK") != "1":
        _say(ended.exc_value.strerror or str(ended.exc_value))
    else:
        threading.__excepthook__(ended)


def _say(line: str) -> None:
    print(f"vqspeech: {line}", file=sys.stderr)


def _drop_output() -> None:
    """Lead standard output to nowhere: the interpreter flushes it once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Verb and arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 1 an error, reported in one line, 130 interrupted, 141 the reader of the output
        went away.
    """
    prepare_streams()
    prepare_caches()
    threading.excepthook = _thread_ended
    try:
        status = _dispatch(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _say("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except ModuleNotFoundError as error:
        lacking = (error.name or "").split(".")[0]
        if lacking not in _EXTRAS or os.environ.get("VQSPEECH_TRACEBACK") == "1":
            raise
        _say(f"this needs {lacking}: pip install 'vqspeech[{_EXTRAS[lacking]}]'")
    except VqspeechError as error:
        if os.environ.get("VQSPEECH_TRACEBACK") == "1":
            raise
        _say(str(error))
    except OSError as error:
        if os.environ.get("VQSPEECH_TRACEBACK") == "1":
            raise
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}")
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()
    return 1
