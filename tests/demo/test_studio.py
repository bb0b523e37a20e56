from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vqspeech.demo.studio import Studio
from vqspeech.errors import AudioError, ConfigurationError, VqspeechError
from vqspeech.labels.frames import Interval
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.decoding import Request
from vqspeech.models.prior import Prior


def test_a_conversion_in_blocks_is_the_conversion(studio: Studio, tone) -> None:
    """What comes bit by bit is what `convert` returns, at the length of the recording."""
    recording = studio.read(tone("a.wav", 0.1), "a.wav")
    blocks = list(studio.make(studio.request(recording, "p226", 3)))
    assert len(blocks) > 1
    expected = studio.model.convert(recording.wav, "p226", seed=3, sampling=studio.sampling)
    np.testing.assert_array_equal(np.concatenate(blocks), expected.numpy())
    assert len(expected) == len(recording.wav) == 1600


def test_pitch_follows_the_recording(
    studio: Studio, voiced_model: Autoencoder, tone: Callable[..., Path]
) -> None:
    """A model that takes pitch gets the recording's, as in `convert`."""
    voiced = Studio(voiced_model, "voiced", studio.sampling, None, 1.0)
    recording = voiced.read(tone("a.wav", 0.2), "a.wav")
    made = np.concatenate(list(voiced.make(voiced.request(recording, "p225", 0))))
    expected = voiced_model.convert(recording.wav, "p225", seed=0, sampling=studio.sampling)
    np.testing.assert_array_equal(made, expected.numpy())


def test_what_is_too_long_is_refused_by_its_own_name(studio: Studio, tone, tmp_path: Path) -> None:
    """The limit is told, and the folder that the upload lies in is not."""
    studio.longest_s = 0.5
    with pytest.raises(AudioError, match=r"^my\.wav: longer than 0\.5 s"):
        studio.read(tone("long.wav", 0.6), "my.wav")
    assert len(studio.read(tone("short.wav", 0.5), "short.wav").wav) == 8000
    (tmp_path / "no.wav").write_text("no sound")
    with pytest.raises(AudioError, match=r"^no\.wav: ") as caught:
        studio.read(tmp_path / "no.wav", "no.wav")
    assert str(tmp_path) not in str(caught.value)


def test_a_long_file_is_not_read_to_its_end(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of silence fit into a small file: reading ends a block after the limit."""
    from vqspeech import audio

    path = tmp_path / "hour.flac"
    soundfile.write(path, np.zeros(60 * 16000, np.int16), 16000)
    read, blocks = [], audio.read_blocks

    def counted(*args, **kwargs):
        for block in blocks(*args, **kwargs):
            read.append(len(block))
            yield block

    monkeypatch.setattr(audio, "read_blocks", counted)
    with pytest.raises(AudioError, match="longer than 12 s"):
        studio.read(path, "hour.flac")
    assert sum(read) <= 14 * 16000


def test_new_speech_is_drawn_and_goes_on_from_a_recording(
    studio: Studio, tiny_prior: Prior, tone
) -> None:
    """Codes are the prior's; a continuation begins with the recording's; the limit holds for both together."""
    rate = studio.model.frame_rate_hz
    new = studio.draw_codes(0.05, "p225", 1, None)
    assert torch.equal(new, tiny_prior.sample(round(0.05 * rate), "p225", seed=1))
    recording = studio.read(tone("a.wav", 0.1), "a.wav")
    longer = studio.draw_codes(0.05, "p225", 1, recording)
    begun = len(longer) - len(new)
    assert 0 < begun <= len(recording.conditioning)
    assert torch.equal(longer[:begun], recording.conditioning[:begun])
    studio.longest_s = 0.12
    with pytest.raises(ConfigurationError, match=r"longer than 0\.12 s"):
        studio.draw_codes(0.05, "p225", 1, recording)


def test_without_a_prior_nothing_is_drawn(studio: Studio) -> None:
    """One line says so."""
    studio.prior = None
    with pytest.raises(ConfigurationError, match="tiny has no prior"):
        studio.draw_codes(1, "p225", 0, None)


def test_an_unknown_voice_is_refused_before_anything_is_made(studio: Studio) -> None:
    """The request is checked at once."""
    with pytest.raises(VqspeechError, match="p999"):
        studio.make(Request(torch.zeros(5, dtype=torch.int64), "p999"))


def test_the_picture_has_a_row_of_codes_and_one_of_phones_when_asked(studio: Studio) -> None:
    """Boxes of equal codes in a row are one; times are those of the frames."""
    hop = studio.model.hop
    wav = np.zeros(4 * hop, np.float32)
    codes = np.array([3, 3, 5, 3])
    drawn = studio.picture(wav, codes)
    assert [tier.name for tier in drawn["tiers"]] == ["wave", "spectrogram", "codes"]
    boxes = drawn["tiers"][-1].boxes
    assert [box["words"] for box in boxes] == ["code 3", "code 5", "code 3"]
    assert boxes[0]["colour"] == boxes[2]["colour"] != boxes[1]["colour"]
    assert boxes[1]["x"] == pytest.approx(drawn["width"] / 2, abs=1)
    phones = [Interval(0, 0.001, "sil"), Interval(0.001, len(wav) / 16000, "aa")]
    drawn = studio.picture(wav, codes, phones)
    assert [tier.name for tier in drawn["tiers"]] == ["wave", "spectrogram", "phones", "codes"]
    assert "sil aa" in drawn["label"]


def test_a_model_without_codes_is_heard_and_seen(
    studio: Studio, tiny_of_kind: Callable[[str], Autoencoder], tone
) -> None:
    """Its latents are converted; the picture has no row of codes."""
    plain = Studio(tiny_of_kind("gaussian"), "plain", studio.sampling, None, 1.0)
    recording = plain.read(tone("a.wav", 0.05), "a.wav")
    assert sum(map(len, plain.make(plain.request(recording, "p225", 0)))) == 800
    drawn = plain.picture(recording.wav, recording.conditioning)
    assert [tier.name for tier in drawn["tiers"]] == ["wave", "spectrogram"]
    assert "no codes" in plain.facts()["model"]


def test_speed_is_measured(studio: Studio) -> None:
    """After measuring it is a number, and stands among the facts with model and engine."""
    studio.measure()
    assert studio.speed > 0
    facts = studio.facts()
    assert f"{studio.speed:.1f} times real time" in facts["speed"]
    assert studio.sampling.engine in facts["engine"]
    assert "tiny" in facts["model"]


def test_phones_are_those_of_the_words(studio: Studio, say) -> None:
    """Made speech with its text: phones end to end over the recording."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    from vqspeech.audio import resample

    recording = studio.encode("a", resample(say("nine bad apples", "en-us"), 22050, 16000))
    words, phones = studio.phones(recording, "Nine bad apples")
    assert words == "Nine bad apples"
    assert phones[0].start_s == 0
    assert phones[-1].end_s == pytest.approx(len(recording.wav) / 16000)
    assert [phone.label for phone in phones if phone.label != "sil"][:3] == ["n", "ay", "n"]


def test_without_words_and_a_recogniser_the_words_are_asked_for(
    studio: Studio, tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is missing."""
    pytest.importorskip("pocketsphinx", reason="needs pocketsphinx (the extra `align`)")
    monkeypatch.setattr("vqspeech.demo.studio.packaged_whisper", lambda: None)
    with pytest.raises(ConfigurationError, match="write down what is said"):
        studio.phones(studio.read(tone("a.wav", 0.1), "a.wav"), " ")
