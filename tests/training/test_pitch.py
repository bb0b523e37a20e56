"""Training with pitch: it goes on from a model without, sees the store's contours, and its file keeps the voices."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vqspeech.audio.mulaw import mulaw_encode
from vqspeech.audio.pitch import Voice
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, read_header, save_model
from vqspeech.models.config import ModelConfig
from vqspeech.training.config import from_mapping
from vqspeech.training.data.pitchtracks import open_tracks
from vqspeech.training.data.segments import CodedBatch, Phase, Segments
from vqspeech.training.loop import train
from vqspeech.training.objective import Objective
from vqspeech.training.start import start, with_pitch, with_speakers

Settings = dict[str, Any]
CPU = torch.device("cpu")


def _voiced(settings: Settings) -> Settings:
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "pitch": True}
    return settings


def test_a_model_goes_on_with_pitch_as_it_was(known: Path, settings: Settings) -> None:
    """With model.decoder.pitch=true all weights are those of init, and likelihoods are the same bits at first."""
    settings |= {"init": str(known), "learn": "decoder"}
    settings["spectral"]["steps"] = 0
    config = from_mapping(_voiced(settings))
    voices = {"ann": Voice(7.5, 0.2), "bob": Voice(6.8, 0.3), "nobody": Voice(1.0, 1.0)}
    state = start(config, ["ann", "bob"], CPU, voices)
    model, old = state.objective.model.eval(), load_model(known)
    assert model.speakers == ("zoe", "bob", "ann")
    assert model.decoder.pitch is not None
    expected = torch.tensor([[7.5, 0.2], [6.8, 0.3]])
    torch.testing.assert_close(model.decoder.pitch.voices[[2, 1]], expected)
    average = state.average.module
    assert torch.equal(average.pitch.voices, model.decoder.pitch.voices)
    wav = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 300).astype(np.float32))
    codes, levels = old.encode(wav), mulaw_encode(wav, 256)
    contour = torch.full((len(codes) * old.hop // old.decoder.condition_hop,), 120.0)
    assert torch.equal(model.nll(levels, codes, "bob"), old.nll(levels, codes, "bob"))
    assert torch.equal(model.nll(levels, codes, "bob", contour), old.nll(levels, codes, "bob"))


@pytest.mark.parametrize("learn", ["all", "decoder"])
def test_a_run_learns_pitch_and_its_file_keeps_it(
    known: Path, settings: Settings, sound_store: Path, learn: str
) -> None:
    """Taps, columns and head move; the file says at what height speakers speak; the run's own tracks are used."""
    settings |= {"init": str(known), "learn": learn}
    settings["spectral"]["steps"] = 0
    path = train(from_mapping(_voiced(settings)))
    assert path is not None
    model = load_model(path)
    pitch, wavenet = model.decoder.pitch, model.decoder.wavenet
    assert pitch is not None
    assert wavenet.taps is not None
    assert wavenet.taps.abs().sum() > 0
    assert pitch.columns.weight.abs().sum() > 0
    for name, voice in open_tracks(PackedStore(sound_store)).voices().items():
        row = pitch.voices[model.speakers.index(name)]
        torch.testing.assert_close(row, torch.tensor(voice))
    decoded = model.decode(model.encode(np.zeros(200)), "ann")
    assert len(decoded) >= 200
    assert torch.isfinite(decoded).all()
    for point in read_header(path)["training"]["curve"]:
        assert point["contour_nats"] not in (None, point["nats_per_sample"])


def test_a_new_model_learns_with_pitch_from_the_warm_start_on(settings: Settings) -> None:
    """Without init too, and going on from such a model needs no more settings."""
    path = train(from_mapping(_voiced(settings)))
    assert path is not None
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "pitch": False}
    settings |= {"init": str(path), "learn": "decoder"}
    settings["spectral"]["steps"], settings["optimizer"]["steps"] = 0, 2
    settings["run"]["dir"] = str(Path(settings["run"]["dir"]).with_name("on"))
    again = train(from_mapping(settings))
    assert again is not None
    assert load_model(again).decoder.pitch is not None


def test_segments_hold_the_contour_of_their_own_stretch(sound_store: Path) -> None:
    """The contour of a segment is that of the recording it was cut from, at the place it was cut from."""
    store = PackedStore(sound_store)
    tracks = open_tracks(store)
    # every value says of which utterance and frame it is
    named = replace_values(tracks)
    segments = Segments(store, [Phase(40, 2, 640, 320)], 16, 0, pitch=(named, 80))
    for step in range(40):
        batch = segments[step]
        assert batch.contour.shape == (2, 8)
        for row in range(2):
            values = batch.contour[row].numpy()
            index, frame = divmod(int(values[0]) - 1, 1000)
            pcm = store.pcm(index)
            begins = [
                begin
                for begin in range(max(0, frame * 80 - 40), frame * 80 + 41)
                if np.array_equal(
                    pcm[begin : begin + 640],
                    batch.pcm[row, : batch.valid[row]].numpy()[: len(pcm) - begin],
                )
            ]
            assert begins


def replace_values(tracks: Any) -> Any:
    """Tracks whose values are 1 + 1000 * utterance + frame."""
    values = [
        1 + 1000 * i + np.arange(len(tracks.contour(i)), dtype=np.float32)
        for i in range(len(tracks.store))
    ]
    return type(tracks)(tracks.store, np.concatenate(values), "places")


def test_speakers_that_are_added_get_the_mean_height(tiny_config: ModelConfig) -> None:
    """A voice that nothing is known of lies in the middle of those that are known."""
    model = with_pitch(Autoencoder(tiny_config, ["ann", "bob"]))
    assert model.decoder.pitch is not None
    model.decoder.pitch.voices.copy_(torch.tensor([[7.0, 0.2], [8.0, 0.4]]))
    larger = with_speakers(model, ["eve"])
    assert larger.decoder.pitch is not None
    torch.testing.assert_close(larger.decoder.pitch.voices[2], torch.tensor([7.5, 0.3]))


def test_a_wavenet_is_lent_to_one_with_pitch_and_not_from_it(
    known: Path, settings: Settings, tiny_config: ModelConfig, tmp_path: Path
) -> None:
    """Without taps to lend they start at zero; with taps that have no place it is an error."""
    settings["init_wavenet"] = str(known)
    model = start(from_mapping(_voiced(settings)), ["ann"], CPU).objective.model
    assert not model.decoder.wavenet.taps.any()
    voiced = tmp_path / "voiced.safetensors"
    save_model(with_pitch(Autoencoder(tiny_config, ["ann"])), voiced)
    settings["init_wavenet"] = str(voiced)
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "pitch": False}
    with pytest.raises(ConfigurationError, match=r"model\.decoder\.pitch=true"):
        start(from_mapping(settings), ["ann"], CPU)


def test_a_model_without_pitch_keeps_its_file(
    tiny_config: ModelConfig, tmp_path: Path, tiny_of_kind: Callable[[str], Autoencoder]
) -> None:
    """No weight of it is one of pitch, whether the setting is there or not."""
    model = tiny_of_kind("vq_ema")
    assert not any("pitch" in key or "taps" in key for key in model.state_dict())
    explicit = {**tiny_config.decoder, "pitch": False}
    other = Autoencoder(replace(model.config, decoder=explicit), model.speakers)
    other.load_state_dict(model.state_dict())
    assert other.state_dict().keys() == model.state_dict().keys()


def test_the_loss_with_pitch_is_one_graph(voiced_model_file: Path) -> None:
    """A compiler that takes no break gives the loss, and draws the same numbers, as without it."""
    model = load_model(voiced_model_file).train()
    objective = Objective(model, 0.0, 0.2, model.decoder.spectral, None, 4, 2.0)
    batch = CodedBatch(
        torch.randint(256, (2, 640), dtype=torch.uint8),
        torch.randint(16, (2, 40)),
        torch.tensor([0, 1]),
        torch.tensor([640, 500]),
        torch.tensor([0, 5]),
        200 * torch.rand(2, 80).round(),
    )
    whole = torch.compile(objective, fullgraph=True, dynamic=False, backend="eager")
    losses = []
    for form in (objective, whole):
        torch.manual_seed(0)
        losses.append(form(batch, 320, False).total)
    torch.compiler.reset()
    torch.testing.assert_close(losses[0], losses[1])
