"""Sound files, resampling and µ-law: what comes out is what went in, and what is broken is refused by name."""

import io
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from bare import run_without
from hypothesis import given
from hypothesis import strategies as st

from vqspeech import audio
from vqspeech.audio.mulaw import mulaw_decode, mulaw_encode
from vqspeech.errors import AudioError

RATE = 16000


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vqspeech.audio.files._said", set())


def _tone(seconds: float = 0.5, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def _refusal(path: Path, call: Callable[..., object] = audio.read, *arguments: object) -> str:
    """What is wrong with a file, in one line that names it."""
    with pytest.raises(AudioError) as error:
        call(path, *arguments)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def _gain(before: np.ndarray, after: np.ndarray, hz: float, from_rate: int, to_rate: int) -> float:
    """Amplitude of a tone after and before, from the middle of both, by a windowed Fourier sum."""

    def amplitude(wav: np.ndarray, rate: int) -> float:
        middle = wav[len(wav) // 4 : 3 * len(wav) // 4].astype(np.float64)
        window = np.hanning(len(middle))
        turns = np.exp(-2j * np.pi * hz * np.arange(len(middle)) / rate)
        return float(2 * abs((window * middle * turns).sum()) / window.sum())

    return amplitude(after, to_rate) / amplitude(before, from_rate)


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """A missing file is "no such file", not a system error."""
    for call in (audio.info, audio.read):
        assert _refusal(tmp_path / "none.wav", call) == "no such file"


def _without_samples(path: Path) -> None:
    soundfile.write(path, np.zeros(0, np.float32), RATE)


def _half_a_flac(path: Path) -> None:
    audio.write(path.with_suffix(".flac"), np.random.default_rng(0).uniform(-0.5, 0.5, RATE), RATE)
    whole = path.with_suffix(".flac").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Path.mkdir, "a folder"),
        (lambda path: path.symlink_to(path), "links"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"once upon a time\n" * 9), "not a sound file"),
        (_without_samples, "no samples"),
        (_half_a_flac, "of 16000 samples"),
        (lambda path: audio.write(path, np.full(1, 0.5), 48000), "none at 16000 Hz"),
    ],
    ids=["folder", "link to itself", "empty", "text", "header alone", "half", "under a sample"],
)
def test_what_is_no_recording_is_refused(
    tmp_path: Path, make: Callable[[Path], object], complaint: str
) -> None:
    """One line with the file's name: what it is instead, or how far it goes."""
    make(tmp_path / "a.wav")
    assert complaint in _refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_truncated_wav_is_refused(tmp_path: Path, subtype: str) -> None:
    """A wav file shorter than its header says is refused, which libsndfile does not do."""
    path = tmp_path / "a.wav"
    soundfile.write(path, _tone(), RATE, subtype=subtype)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert soundfile.info(path).frames > 0
    for call in (audio.info, audio.read):
        assert "truncated" in _refusal(path, call)


def test_wav_from_a_pipe_without_a_size_is_read(tmp_path: Path) -> None:
    """A size that says "not known", as programs write to pipes, is no truncation."""
    path = tmp_path / "a.wav"
    audio.write(path, _tone(), RATE)
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = b"\xff\xff\xff\xff"
    data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(audio.read(path)) == RATE // 2


def test_chunks_before_and_after_the_samples_do_not_matter(tmp_path: Path) -> None:
    """A wav file with a note in front of its samples and another behind them reads as without."""
    path = tmp_path / "a.wav"
    audio.write(path, _tone(), RATE)
    data = path.read_bytes()
    place = data.index(b"data")
    note = b"note\x03\x00\x00\x00abc\x00"
    size = (len(data) + 2 * len(note) - 8).to_bytes(4, "little")
    path.write_bytes(data[:4] + size + data[8:place] + note + data[place:] + note)
    assert len(audio.read(path)) == RATE // 2


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused(tmp_path: Path, value: float) -> None:
    """One value that is no number refuses the file, also when it would be resampled."""
    path = tmp_path / "a.wav"
    wav = _tone()
    wav[4000] = value
    soundfile.write(path, wav, RATE, subtype="FLOAT")
    for rate in (RATE, 8000):
        assert "NaN" in _refusal(path, audio.read, rate)


def test_impossible_name_is_refused() -> None:
    """A name with a zero byte is an error of one line."""
    with pytest.raises(AudioError, match="not a possible file name"):
        audio.read("a\0b.wav")


@pytest.mark.parametrize("name", ["läßt grüßen ñ.wav", "-n.wav", "two words.flac", "静か.flac"])
def test_unusual_names_are_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Non-ASCII letters, spaces and a leading dash are names like any other."""
    monkeypatch.chdir(tmp_path)
    audio.write(name, _tone(), RATE)
    assert len(audio.read(name)) == RATE // 2


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_formats_give_back_16_bit_samples(tmp_path: Path, suffix: str) -> None:
    """Every 16-bit value survives writing and reading."""
    path = tmp_path / f"a{suffix}"
    wav = np.arange(-32768, 32768, dtype=np.float32) / 32768
    audio.write(path, wav, RATE)
    np.testing.assert_array_equal(audio.read(path), wav)


@pytest.mark.parametrize("suffix", [".ogg", ".opus", ".mp3"])
@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_lossy_formats_give_back_the_tone(tmp_path: Path, suffix: str, rate: int) -> None:
    """Level and length come back; mp3 pads up to two of its frames, which nothing takes off."""
    path = tmp_path / f"a{suffix}"
    wav = _tone(2.0, rate)
    audio.write(path, wav, rate)
    found = audio.read(path, 16000)
    extra = len(found) - 2 * 16000
    padding = 2 * 1152 * 16000 // rate if suffix == ".mp3" else 16
    assert -16 <= extra <= padding
    assert _gain(wav, found, 440.0, rate, 16000) == pytest.approx(1, abs=0.03)


def test_channels_are_averaged_and_rates_converted_once_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A stereo file at 48 kHz becomes the mean at 16 kHz; two such files are mentioned once."""
    left, right = _tone(1.0, 48000, 300.0), _tone(1.0, 48000, 1000.0)
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    with caplog.at_level(logging.WARNING, "vqspeech"):
        for path in paths:
            soundfile.write(path, np.stack([left, right], 1), 48000, subtype="FLOAT")
            wav = audio.read(path)
    assert wav.dtype == np.float32
    assert wav.shape == (16000,)
    expected = audio.resample((left + right) / 2, 48000, 16000)
    np.testing.assert_allclose(wav, expected, atol=1e-6)
    assert [record.getMessage().startswith(str(paths[0])) for record in caplog.records] == [
        True
    ] * 2


def test_values_beyond_one_are_kept_and_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Too loud a file is read as it is, with one warning, however many blocks are too loud."""
    path = tmp_path / "a.wav"
    soundfile.write(path, 6 * _tone(), RATE, subtype="FLOAT")
    with caplog.at_level(logging.WARNING, "vqspeech"):
        wav = np.concatenate(list(audio.read_blocks(path, block_s=0.1)))
    assert wav.max() == pytest.approx(3, abs=0.01)
    assert len(caplog.records) == 1
    assert "beyond 1" in caplog.text


def test_silence_is_read(tmp_path: Path) -> None:
    """Digital silence is a recording like any other."""
    path = tmp_path / "a.wav"
    audio.write(path, np.zeros(800, np.float32), RATE)
    np.testing.assert_array_equal(audio.read(path), np.zeros(800, np.float32))


@pytest.mark.parametrize(("samples", "rate"), [(1, 16000), (1, 8000), (3, 48000)])
def test_very_short_recordings_are_read(tmp_path: Path, samples: int, rate: int) -> None:
    """Down to one sample at 16 kHz, a recording is read."""
    path = tmp_path / "a.wav"
    audio.write(path, np.full(samples, 0.5, np.float32), rate)
    assert len(audio.read(path)) == round(samples * 16000 / rate)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000, 8000])
def test_blocks_joined_are_the_whole(tmp_path: Path, rate: int) -> None:
    """Reading in blocks gives bit for bit what reading at once gives, whatever the block."""
    path = tmp_path / "a.wav"
    audio.write(path, np.random.default_rng(0).uniform(-0.9, 0.9, 3 * rate + 17), rate)
    whole = audio.read(path)
    pcm = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(whole, audio.resample(pcm, rate, RATE))
    for block_s in (0.01, 0.7, 100.0):
        blocks = list(audio.read_blocks(path, block_s=block_s))
        assert all(len(block) for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_info_says_what_the_header_says(tmp_path: Path) -> None:
    """Rate, channels, samples and length come from the header."""
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros((4410, 2)), 44100)
    found = audio.info(path)
    assert (found.sample_rate, found.channels, found.samples) == (44100, 2, 4410)
    assert found.duration_s == pytest.approx(0.1)


@pytest.mark.slow
def test_hours_are_read_in_constant_memory(tmp_path: Path) -> None:
    """An hour is read in blocks with less than a tenth of the memory it takes whole."""
    path = tmp_path / "hour.flac"
    second = (0.1 * np.random.default_rng(0).standard_normal(24000)).clip(-1, 1)
    with soundfile.SoundFile(path, "w", 24000, 1, "PCM_16") as file:
        for _ in range(3600):
            file.write(second)
    script = (
        "import resource, sys; from vqspeech import audio\n"
        "def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "next(audio.read_blocks(sys.argv[1])); before = used()\n"
        "n = sum(len(block) for block in audio.read_blocks(sys.argv[1]))\n"
        "print(n, (used() - before) // 1024)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    samples, grown_mib = map(int, result.stdout.split())
    assert samples == 3600 * RATE
    assert grown_mib < 24000 * 3600 * 4 / 2**20 / 10


def test_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    """Writing over a file takes `force`; without it the file keeps its bytes."""
    path = tmp_path / "a.wav"
    audio.write(path, _tone(), RATE)
    before = path.read_bytes()
    with pytest.raises(AudioError, match="--force"):
        audio.write(path, _tone(1.0), RATE)
    assert path.read_bytes() == before
    audio.write(path, _tone(1.0), RATE, force=True)
    assert len(audio.read(path)) == RATE


def test_loud_samples_are_clipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Values beyond full scale become full scale and do not wrap around."""
    path = tmp_path / "a.wav"
    with caplog.at_level(logging.WARNING, "vqspeech"):
        audio.write(path, np.array([-3.0, 0.25, 2.0]), RATE)
    np.testing.assert_array_equal(audio.read(path), np.float32([-1, 0.25, 32767 / 32768]))
    assert "clipped" in caplog.text


class Pipe(io.RawIOBase):
    """What cannot be sought in and keeps, for each flush, the bytes that came before it."""

    def __init__(self) -> None:
        self.flushed: list[bytes] = []
        self.waiting = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:
        self.waiting += bytes(data)
        return len(data)

    def flush(self) -> None:
        if self.waiting:
            self.flushed.append(self.waiting)
        self.waiting = b""


@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=6), rate=st.integers(8000, 48000))
def test_a_stream_has_the_bytes_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], rate: int
) -> None:
    """However a recording is cut, header and samples are those of the wav file, clipping included."""
    wav = np.random.default_rng(sum(lengths)).normal(size=sum(lengths) + 1).astype(np.float32)
    blocks = np.split(wav, np.cumsum(lengths))
    path = tmp_path_factory.mktemp("stream") / "a.wav"
    audio.write(path, wav, rate)
    pipe = Pipe()
    audio.write_stream(pipe, blocks, len(wav), rate)
    assert b"".join(pipe.flushed) == path.read_bytes()


def test_a_stream_sends_each_block_before_it_asks_for_the_next() -> None:
    """The header goes out before any sample is there, and every block at once."""
    pipe = Pipe()

    def blocks() -> Iterator[np.ndarray]:
        for i in range(3):
            assert len(pipe.flushed) == i + 1
            yield _tone(0.01)
        assert len(pipe.flushed) == 4

    audio.write_stream(pipe, blocks(), 480, RATE)
    assert [len(data) for data in pipe.flushed] == [44, 320, 320, 320]


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([np.zeros(5)], "5 samples came where the header says 10"),
        ([np.zeros(5), np.zeros(6)], "11 samples came where the header says 10"),
        ([], "0 samples came"),
        ([np.array([np.nan])], "refused to write NaN"),
    ],
)
def test_a_stream_that_is_not_as_long_as_its_header_says_is_an_error(
    blocks: list[np.ndarray], expected: str
) -> None:
    """Its reader has the header already, so the writer must not end as if all were well."""
    pipe = Pipe()
    with pytest.raises(AudioError, match=expected):
        audio.write_stream(pipe, [block.astype(np.float32) for block in blocks], 10, RATE)
    assert sum(map(len, pipe.flushed)) <= 44 + 20


def test_a_stream_longer_than_a_header_can_say_is_refused_before_its_first_byte() -> None:
    """Sizes in a wav header have 32 bits."""
    pipe = Pipe()
    with pytest.raises(AudioError, match="2147483630 samples are more"):
        audio.write_stream(pipe, [], 2**31 - 18, RATE)
    assert pipe.flushed == []
    with pytest.raises(AudioError, match="0 samples came"):
        audio.write_stream(pipe, [], 2**31 - 19, RATE)


@pytest.mark.parametrize(
    "wav", [np.array([np.nan]), np.array([np.inf]), np.zeros(0), np.zeros((2, 800))]
)
def test_what_is_no_wav_is_not_written(tmp_path: Path, wav: np.ndarray) -> None:
    """NaN, infinity, nothing, and two dimensions are refused, and no file appears."""
    with pytest.raises(AudioError):
        audio.write(tmp_path / "a.wav", wav, RATE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        *((name, r"\.wav, \.flac") for name in ("a.aac", "a", "a.wav.txt")),
        ("none/a.wav", "does not exist"),
    ],
)
def test_a_place_for_no_sound_is_refused(tmp_path: Path, name: str, complaint: str) -> None:
    """An unknown suffix is answered with the formats there are; a folder that is not there is not made."""
    with pytest.raises(AudioError, match=complaint):
        audio.write(tmp_path / name, _tone(), RATE)


def test_read_only_folder_is_an_error_of_one_line(read_only_folder: Path) -> None:
    """Where one may not write, the message says so and nothing is left."""
    assert "Permission denied" in _refusal(read_only_folder / "a.wav", audio.write, _tone(), RATE)
    assert list(read_only_folder.iterdir()) == []


@pytest.mark.parametrize("hz", [100.0, 1000.0, 4000.0, 7000.0])
def test_resampling_keeps_the_pass_band(hz: float) -> None:
    """From 48 to 16 kHz, tones up to 7 kHz keep their level to 0.1 %."""
    wav = _tone(1.0, 48000, hz)
    assert _gain(wav, audio.resample(wav, 48000, RATE), hz, 48000, RATE) == pytest.approx(
        1, abs=1e-3
    )


@pytest.mark.parametrize("hz", [8500.0, 9000.0, 12000.0, 15000.0])
def test_resampling_does_not_alias(hz: float) -> None:
    """From 48 to 16 kHz, what lies above 8 kHz does not come back below it: under -100 dB."""
    wav = audio.resample(_tone(1.0, 48000, hz), 48000, RATE)
    middle = wav[4000:12000]
    assert 20 * np.log10(np.abs(middle).max() / 0.5) < -100


@pytest.mark.parametrize("levels", [2, 3, 128, 256, 1024])
def test_every_level_survives_decoding_and_encoding(levels: int) -> None:
    """Encoding what a level decodes to gives that level."""
    every = torch.arange(levels)
    torch.testing.assert_close(mulaw_encode(mulaw_decode(every, levels), levels), every)


def test_mulaw_is_its_formula() -> None:
    """Levels are those of the formula, worked out in double precision."""
    wav = np.linspace(-1, 1, 4001)
    compressed = np.sign(wav) * np.log(1 + 255 * np.abs(wav)) / np.log(256)
    expected = np.floor((compressed + 1) / 2 * 255 + 0.5)
    found = mulaw_encode(torch.tensor(wav, dtype=torch.float32)).numpy()
    # On the border between two levels, single precision may fall to either side.
    border = np.abs((compressed + 1) / 2 * 255 % 1 - 0.5) < 1e-4
    np.testing.assert_array_equal(found[~border], expected[~border])
    assert border.mean() < 0.01


@given(st.floats(min_value=-1, max_value=1, width=32))
def test_mulaw_error_is_at_most_half_a_level(x: float) -> None:
    """Decoding what was encoded lies within the neighbouring levels, finer where it is quiet."""
    level = mulaw_encode(torch.tensor([x]))
    neighbours = mulaw_decode(torch.stack([level - 1, level, level + 1]).clamp(0, 255))
    assert neighbours[0] - 1e-6 <= x <= neighbours[2] + 1e-6
    assert abs(float(neighbours[1]) - x) <= 0.5 * (0.045 * abs(x) + 2e-4)


def test_mulaw_clips_and_keeps_the_shape() -> None:
    """Values beyond full scale are the outermost levels; shape and type are as promised."""
    wav = torch.tensor([[-5.0, -1.0, 1.0, 5.0]])
    levels = mulaw_encode(wav)
    assert levels.tolist() == [[0, 0, 255, 255]]
    assert levels.dtype == torch.int64
    assert mulaw_decode(levels).dtype == torch.float32


def test_importing_audio_needs_no_sound_library() -> None:
    """A training machine without soundfile and soxr can import the module and use µ-law."""
    code = (
        "import torch; from vqspeech import audio\n"
        "from vqspeech.audio.mulaw import mulaw_encode\n"
        "print(mulaw_encode(torch.zeros(1)).item())"
    )
    assert run_without("soundfile soxr", code) == "128\n"
