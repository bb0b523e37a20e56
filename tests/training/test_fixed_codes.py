"""Training on fixed codes: no encoder runs, and store, pack, loader and device give the same run to the bit."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vqspeech.corpus.folder import list_folder
from vqspeech.corpus.prepare import prepare
from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, save_model
from vqspeech.nn.encoder import Encoder
from vqspeech.training.config import from_mapping
from vqspeech.training.data.coded import CodedStore
from vqspeech.training.data.codestore import extract_codes
from vqspeech.training.data.packing import write_pack
from vqspeech.training.data.pitchtracks import open_tracks
from vqspeech.training.data.segments import CodedSegments, Phase, Segments
from vqspeech.training.loop import train

Settings = dict[str, Any]
CPU = torch.device("cpu")


@pytest.fixture
def known(tiny_of_kind: Callable[[str], Autoencoder], tmp_path: Path) -> Path:
    """Return the file of a model whose codes are decoded."""
    path = tmp_path / "known.safetensors"
    save_model(tiny_of_kind("vq_ema"), path)
    return path


@pytest.fixture
def coded(known: Path, sound_store: Path, tmp_path: Path) -> CodedStore:
    """Return the store with the codes of that model."""
    store, model = PackedStore(sound_store), load_model(known)
    return CodedStore(store, extract_codes(model, store, tmp_path / "codes"))


@pytest.fixture
def pack(coded: CodedStore, sound_store: Path, tmp_path: Path) -> Path:
    """Return the same as a pack, with pitch tracks."""
    tracks = tmp_path / "pitch.npz"
    open_tracks(PackedStore(sound_store), str(tracks))
    out = tmp_path / "pack"
    write_pack(coded, out, origin="sung", model="known", tracks=tracks)
    return out


@pytest.fixture
def decoding(settings: Settings, known: Path) -> Settings:
    """Return the settings of a run that learns a decoder with pitch."""
    settings |= {"init": str(known), "learn": "decoder"}
    settings["spectral"] |= {"steps": 0, "weight": 0.2}
    settings["model"]["decoder"] = {**settings["model"]["decoder"], "pitch": True}
    settings["data"] |= {"scored_every": 2, "balance": 0.5}
    return settings


def _weights(settings: Settings) -> dict[str, Tensor]:
    assert train(from_mapping(settings)) is not None
    return torch.load(Path(settings["run"]["dir"]) / "state.pt", weights_only=True)["objective"]


def test_a_pack_trains_as_the_store_does(decoding: Settings, pack: Path) -> None:
    """Same weights to the bit, same scores: a pack has all that a decoder with fixed codes learns from."""
    packed = deepcopy(decoding)
    packed["data"]["store"] = str(pack)
    packed["run"]["dir"] += "-packed"
    found, expected = _weights(packed), _weights(decoding)
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key
    metrics = [(Path(s["run"]["dir"]) / "metrics.json").read_text() for s in (packed, decoding)]
    assert metrics[0] == metrics[1]


@pytest.mark.parametrize("learn", ["decoder", "all"])
def test_data_on_the_device_trains_as_data_from_loaders_does(
    decoding: Settings, learn: str
) -> None:
    """Gathered where the weights are, or loaded by other processes: the same weights to the bit."""
    decoding["learn"] = learn
    ends = []
    for resident, workers in (("yes", 0), ("no", 2)):
        own = deepcopy(decoding)
        own["data"] |= {"resident": resident, "workers": workers}
        own["run"]["dir"] += resident
        ends.append(_weights(own))
    for key, tensor in ends[0].items():
        assert torch.equal(ends[1][key], tensor), key


@pytest.mark.parametrize("learn", ["decoder", "all"])
def test_a_store_in_place_trains_as_a_packed_one(
    decoding: Settings, sound_store: Path, tmp_path: Path, learn: str
) -> None:
    """Recordings read when a step asks for them, by loaders: the same weights to the bit, the same scores."""
    decoding["learn"] = learn
    people = sound_store.with_name("training-people")
    own = deepcopy(decoding)
    settings: Settings = {"in_place": True, "top_db": None, "workers": 0, "progress": False}
    own["data"] |= {
        "store": str(prepare(list_folder(people), tmp_path / "store", **settings)),
        "workers": 2,
        "resident": "no",
    }
    own["run"]["dir"] += "-in-place"
    found, expected = _weights(own), _weights(decoding)
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key
    metrics = [(Path(s["run"]["dir"]) / "metrics.json").read_text() for s in (own, decoding)]
    assert metrics[0] == metrics[1]


def test_no_encoder_runs_where_codes_are_fixed(
    decoding: Settings, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither training nor scoring from a pack calls it."""

    def called(*_: Any) -> None:
        raise AssertionError("the encoder was called")

    monkeypatch.setattr(Encoder, "forward", called)
    decoding["data"]["store"] = str(pack)
    decoding["run"]["validate_every"] = 4
    assert train(from_mapping(decoding)) is not None


def test_batches_hold_the_codes_of_their_own_samples(coded: CodedStore) -> None:
    """Levels and codes of a row are those of one stretch of one recording; what follows its end is silence and 0."""
    segments = CodedSegments(coded, [Phase(60, 3, 640, 320)], 0)
    rows = {}
    for of in coded.utterances:
        levels = coded.levels(of.offset, of.offset + of.samples)
        for frame in range(of.frames):
            stretch = levels[frame * coded.hop :][:640]
            rows[stretch.tobytes()] = (
                len(stretch),
                coded.codes[of.frame + frame : of.frame + of.frames][:40],
            )
    for step in range(60):
        batch = segments[step]
        for levels, codes, valid, crop in zip(
            batch.levels, batch.codes, batch.valid, batch.crop, strict=True
        ):
            length, expected = rows[levels[:valid].numpy().tobytes()]
            frames = -(length // -coded.hop)
            assert length == valid
            assert codes[:frames].tolist() == expected[:frames].tolist()
            assert not codes[frames:].any()
            assert (levels[valid:] == 128).all()
            assert 0 <= crop * coded.hop < valid


def test_every_sample_of_the_training_split_is_reached(coded: CodedStore) -> None:
    """The last samples of a recording too, though segments begin at codes."""
    segments = CodedSegments(coded, [Phase(600, 8, 640, 320)], 0)
    seen = {u.utterance + u.speaker: set() for u in coded.utterances if u.split == "train"}
    for step in range(600):
        places = segments.plan.places(step)
        for place, start, valid in zip(places.utterance, places.start, places.valid, strict=True):
            of = segments.plan.kept[place]
            assert start % coded.hop == 0
            assert start + valid <= of.samples
            seen[of.utterance + of.speaker] |= {int(start), int(start + valid)}
    for of in segments.plan.kept:
        assert {0, of.samples} <= seen[of.utterance + of.speaker]


@pytest.mark.parametrize("kind", ["sound", "codes"])
def test_batches_gathered_on_a_device_are_those_of_the_loader(
    coded: CodedStore, sound_store: Path, kind: str
) -> None:
    """All parts of a batch are equal, types included."""
    store, phases = PackedStore(sound_store), [Phase(20, 3, 640, 320)]
    pitch = (open_tracks(store), 8)
    segments = (
        Segments(store, phases, coded.hop, 0, pitch=pitch)
        if kind == "sound"
        else CodedSegments(coded, phases, 0, pitch=pitch)
    )
    resident = segments.resident(CPU)
    assert segments.bytes > 0
    for step in range(20):
        for loaded, gathered in zip(segments[step], resident[step], strict=True):
            assert loaded.dtype == gathered.dtype
            assert torch.equal(loaded, gathered)


@pytest.mark.parametrize("change", [{"init": ""}, {"learn": "all"}, {"init": "", "learn": "all"}])
def test_a_pack_is_refused_where_an_encoder_would_learn(
    decoding: Settings, pack: Path, change: dict[str, str]
) -> None:
    """It has no sound for one."""
    decoding["data"]["store"] = str(pack)
    decoding["spectral"]["steps"] = 4
    with pytest.raises(ConfigurationError, match="no sound for an encoder"):
        train(from_mapping(decoding | change))


def test_a_damaged_pack_is_named_before_anything_is_trained(decoding: Settings, pack: Path) -> None:
    """Every file of it without its last byte: no folder of the run is made."""
    for path in pack.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    decoding["data"]["store"] = str(pack)
    with pytest.raises(CorpusError, match=str(pack)):
        train(from_mapping(decoding))
    assert not Path(decoding["run"]["dir"]).exists()


def test_a_pack_of_other_codes_is_refused(
    decoding: Settings, pack: Path, tiny_of_kind: Callable[[str], Autoencoder], tmp_path: Path
) -> None:
    """Codes mean nothing to a model with another codebook."""
    other = tiny_of_kind("vq_ema")
    other.bottleneck.codebook += 1
    path = tmp_path / "other.safetensors"
    save_model(other, path)
    decoding |= {"init": str(path)}
    decoding["data"]["store"] = str(pack)
    with pytest.raises(CorpusError, match="codes of codebook"):
        train(from_mapping(decoding))


def test_listening_takes_the_sound_of_the_store_and_a_pack_has_none(
    decoding: Settings, pack: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fixed codes a validation still lets people listen, where there are recordings."""
    heard: list[str] = []
    monkeypatch.setattr(
        "torch.utils.tensorboard.SummaryWriter.add_audio", lambda *args, **_: heard.append(args[1])
    )
    decoding["run"] |= {"validate_every": 8, "listen_s": 0.01}
    packed = deepcopy(decoding)
    packed["data"]["store"] = str(pack)
    packed["run"]["dir"] += "-packed"
    assert train(from_mapping(packed)) is not None
    assert heard == []
    assert train(from_mapping(decoding)) is not None
    assert heard == ["valid/original", "valid/reconstructed"]
