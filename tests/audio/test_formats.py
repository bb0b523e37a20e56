"""Files whose headers are wrong, and joined files: all of their sound, a warning, or a refusal."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech import audio
from vqspeech.audio.formats import Content, find_parts
from vqspeech.errors import AudioError

RATE = 16000
SAMPLES = 48000
FORMATS = {
    ".wav": {},
    ".flac": {},
    ".ogg": {},
    ".opus": {"format": "OGG", "subtype": "OPUS"},
    ".mp3": {},
}


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Return a function that gives the bytes of three seconds of noise in a format."""
    folder = tmp_path_factory.mktemp("encoded")
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES)

    def of(suffix: str) -> bytes:
        path = folder / f"a{suffix}"
        if not path.exists():
            soundfile.write(path, noise, RATE, **FORMATS[suffix])
        return path.read_bytes()

    return of


def _read(path: Path, content: bytes) -> tuple[np.ndarray, list[str]]:
    path.write_bytes(content)
    with audio.warnings_kept() as said:
        wav = audio.read(path)
    assert audio.info(path).samples == pytest.approx(len(wav), abs=2 * 1152)
    return wav, said


def _wav(data: bytes, stated: int, bits: int = 16, channels: int = 1) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<IHHIIHH", 16, 1, channels, RATE, RATE * block, block, bits)
    sizes = struct.pack("<I", (stated + 36) & 0xFFFFFFFF), struct.pack("<I", stated)
    return b"RIFF" + sizes[0] + b"WAVEfmt " + form + b"data" + sizes[1] + data


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("times", [2, 3])
def test_joined_files_are_read_whole(
    tmp_path: Path, encoded: Callable, suffix: str, times: int
) -> None:
    """Files joined with cat are the recordings one after another, without a word."""
    once, _ = _read(tmp_path / f"a{suffix}", encoded(suffix))
    joined, said = _read(tmp_path / f"b{suffix}", times * encoded(suffix))
    np.testing.assert_array_equal(joined, np.tile(once, times))
    assert said == []


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_ogg_without_its_end_is_read_with_a_warning(
    tmp_path: Path, encoded: Callable, suffix: str
) -> None:
    """What states no length is read as far as it goes, also where another recording follows."""
    content = encoded(suffix)
    half, said = _read(tmp_path / f"a{suffix}", content[: len(content) // 2])
    assert 0 < len(half) < SAMPLES
    assert len(said) == 1
    assert "without an end mark" in said[0]
    both, said = _read(tmp_path / f"b{suffix}", content[: len(content) // 2] + content)
    assert len(both) == len(half) + SAMPLES
    assert said


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_headers_of_ogg_without_sound_do_not_hide_the_other_parts(
    tmp_path: Path, encoded: Callable[[str], bytes], suffix: str
) -> None:
    """A recording that broke off as it began, in front of others, between them or behind: warned of, not refused."""
    path, whole = tmp_path / f"a{suffix}", encoded(suffix)
    third = [place for place in range(len(whole)) if whole.startswith(b"OggS", place)][2]
    headers, broken = whole[:third], whole[: third + 40]
    for content, parts in (
        (headers + whole, 1),
        (whole + headers, 1),
        (whole + broken, 1),
        (whole + headers + whole, 2),
        (headers + broken + whole, 1),
    ):
        wav, said = _read(path, content)
        assert len(wav) == parts * SAMPLES
        assert any("headers that no sound follows" in text or "more such" in text for text in said)
    with pytest.raises(AudioError):
        _read(path, headers)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3"])
def test_what_states_more_than_it_holds_is_refused(
    tmp_path: Path, encoded: Callable, suffix: str
) -> None:
    """Half a file that says how long it should be is no recording, alone or as the second of two."""
    content = encoded(suffix)
    path = tmp_path / f"a{suffix}"
    for whole in (b"", content):
        path.write_bytes(whole + content[: len(content) // 2])
        with pytest.raises(AudioError, match=r"truncated|damaged") as error:
            audio.read(path)
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("bits", "channels", "stated", "warned"),
    [
        (16, 1, 0x7FFFF000, False),
        (24, 1, 0x7FFFF000 // 3 * 3, False),
        (24, 2, 0x7FFFF000 // 6 * 6, False),
        (16, 1, 0xFFFFFFFF, False),
        (16, 1, 0xFFFFFFFF - 36, False),
        (16, 1, 0x80000000, False),
        (16, 1, 2_000_000_000, True),
        (16, 1, 0, True),
        (16, 1, SAMPLES, True),
        (16, 1, 2 * SAMPLES + 16, True),
        (16, 1, 2 * SAMPLES - 16, True),
    ],
)
def test_sizes_that_writers_to_pipes_leave(
    tmp_path: Path, bits: int, channels: int, stated: int, warned: bool
) -> None:
    """Every sample is read whatever the header states; known placeholders are no news."""
    values = np.arange(SAMPLES * channels, dtype="<i4") % 20011 << (bits - 16)
    data = values.view("u1").reshape(-1, 4)[:, : bits // 8].tobytes()
    wav, said = _read(tmp_path / "a.wav", _wav(data, stated, bits, channels))
    assert len(wav) == SAMPLES
    assert bool(said) == warned


def test_chunks_behind_the_samples_are_no_sound(tmp_path: Path) -> None:
    """Notes behind the samples, padded or not, change nothing and are not spoken of."""
    data = bytes(range(256)) * 4
    for notes in (b"LIST\x04\0\0\0abcd", b"id3 \x03\0\0\0abc\0", b"TAG" + bytes(125)):
        wav, said = _read(tmp_path / "a.wav", _wav(data, len(data)) + notes)
        assert (len(wav), said) == (512, [])
        wav, said = _read(tmp_path / "a.wav", _wav(data + b"a", 1025, 8) + b"\0" + notes)
        assert (len(wav), said) == (1025, [])


@pytest.mark.parametrize(
    ("stated", "kept", "samples", "warned"),
    [(0, 1.0, SAMPLES, 0), (20000, 1.0, SAMPLES, 1), (0, 0.9, 40960, 1)],
)
def test_flac_of_unknown_or_wrong_length(
    tmp_path: Path, encoded: Callable, stated: int, kept: float, samples: int, warned: int
) -> None:
    """A length of 0, as writers to a pipe leave it, and one too short are read to the end."""
    content = bytearray(encoded(".flac"))
    content[21] &= 0xF0
    content[22:26] = stated.to_bytes(4, "big")
    wav, said = _read(tmp_path / "a.flac", bytes(content[: int(kept * len(content))]))
    assert len(wav) == samples
    assert len(said) == warned
    tagged, _ = _read(tmp_path / "b.flac", bytes(content) + b"TAG" + bytes(125))
    assert len(tagged) == SAMPLES


def test_flac_of_variable_and_odd_blocks_has_its_length_found(tmp_path: Path) -> None:
    """The number in the last frame counts blocks, whatever their size and the length of the number."""
    for samples in (1, 100, 4096, 4097, 600_000):
        soundfile.write(tmp_path / "a.flac", np.linspace(-0.5, 0.5, samples), RATE)
        content = bytearray((tmp_path / "a.flac").read_bytes())
        content[21] &= 0xF0
        content[22:26] = bytes(4)
        assert len(_read(tmp_path / "b.flac", bytes(content))[0]) == samples


def test_mp3_without_a_tag_is_not_cut_at_a_guess(tmp_path: Path, encoded: Callable) -> None:
    """Without the Xing frame, whose length libmpg123 would guess from the first bit rate, all is read."""
    content = encoded(".mp3")
    start = content.index(b"\xff\xf3", 4)
    wav, said = _read(tmp_path / "a.mp3", content[start:])
    assert SAMPLES <= len(wav) <= SAMPLES + 2 * 1152
    assert said == []
    twice, _ = _read(tmp_path / "b.mp3", 2 * content[start:])
    assert len(twice) >= 2 * SAMPLES


def test_mp3_whose_tag_states_too_little_is_read_to_its_end(
    tmp_path: Path, encoded: Callable
) -> None:
    """The tag of the first part speaks for that part alone."""
    content = bytearray(encoded(".mp3"))
    place = content.index(b"Xing") + 8
    content[place : place + 4] = (40).to_bytes(4, "big")
    wav, said = _read(tmp_path / "a.mp3", bytes(content))
    assert len(wav) >= SAMPLES
    assert len(said) == 1


def test_mp3_is_decoded_without_the_words_of_its_library(tmp_path: Path, encoded: Callable) -> None:
    """What libmpg123 prints does not reach standard error, and what we say afterwards does."""
    path = tmp_path / "a.mp3"
    content = encoded(".mp3")
    path.write_bytes(content[:3000] + bytes(500) + content[3000:] + b"rubbish" * 50)
    script = (
        "import sys; from vqspeech import audio\n"
        "try: audio.read(sys.argv[1])\n"
        "except audio.AudioError as error: print('refused', file=sys.stderr)\n"
        "print('said', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    lines = done.stderr.splitlines()
    assert lines[-1] == "said"
    assert all(line == "refused" or line.startswith(str(path)) for line in lines[:-1])


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"<!DOCTYPE html><html>" + b"Not found\n" * 3000, "a web page"),
        (b"\0\0\0\x20ftypM4A " + bytes(range(256)) * 40, "MPEG-4"),
        (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "AppleDouble"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (b"hello there, this is a text\n" * 9, "text"),
        (bytes(5000), "zeros"),
    ],
)
@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".opus"])
def test_a_name_that_lies_is_answered_with_what_the_file_is(
    tmp_path: Path, head: bytes, kind: str, suffix: str
) -> None:
    """The reason is true whatever the suffix promises."""
    path = tmp_path / f"a{suffix}"
    path.write_bytes(head)
    with pytest.raises(AudioError, match=kind):
        audio.read(path)


def test_sound_under_the_name_of_another_format_is_read(tmp_path: Path, encoded: Callable) -> None:
    """What counts is what the file holds."""
    for suffix, other in ((".mp3", ".wav"), (".flac", ".mp3"), (".wav", ".opus")):
        assert len(_read(tmp_path / f"a{other}", encoded(suffix))[0]) >= SAMPLES


def test_a_named_pipe_is_read_like_a_file(tmp_path: Path, encoded: Callable) -> None:
    """A pipe gives its bytes once; that is enough, for headers at the end of them too."""
    pipe = tmp_path / "p.wav"
    os.mkfifo(pipe)
    for suffix in FORMATS:
        content = encoded(suffix)
        writer = threading.Thread(target=pipe.write_bytes, args=(content,))
        writer.start()
        wav = audio.read(pipe)
        writer.join()
        np.testing.assert_array_equal(wav, _read(tmp_path / f"a{suffix}", content)[0])


def test_devices_are_refused() -> None:
    """An endless device is no recording."""
    for name, complaint in (("/dev/zero", "device"), ("/dev/null", "empty")):
        with pytest.raises(AudioError, match=complaint):
            audio.read(name)


def test_channels_that_cancel_are_refused(tmp_path: Path) -> None:
    """The mean of a signal and its inverse is no recording; one silent channel is none of that."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES)
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([noise, -0.99 * noise], 1), RATE)
    with pytest.raises(AudioError, match="channels cancel"):
        audio.read(path)
    for other in (np.zeros(SAMPLES), noise[::-1]):
        soundfile.write(path, np.stack([noise, other], 1), RATE)
        assert len(audio.read(path)) == SAMPLES
    soundfile.write(path, np.zeros((SAMPLES, 2)), RATE)
    assert len(audio.read(path)) == SAMPLES


def test_slices_of_a_file_are_those_of_its_bytes(tmp_path: Path) -> None:
    """Whatever is cached, a slice is the bytes asked for, and a search finds what crosses blocks."""
    path = tmp_path / "a"
    data = np.random.default_rng(0).bytes(600_000)
    data = data[: (1 << 18) - 2] + b"fLaC" + data[(1 << 18) + 2 :]
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        content = Content(descriptor)
        for start, stop in ((0, 10), (599_990, 700_000), (262_100, 262_200), (5, 5), (10, 300_000)):
            assert content[start:stop] == data[start:stop]
        assert content.find(b"fLaC", 0) == data.find(b"fLaC")
        assert content.find(b"nowhere to be found", 0) == -1
        assert len(find_parts(content)) == 1
    finally:
        os.close(descriptor)
