"""Training from a pack: the same weights as from the store that it was made of, and what a pack cannot serve for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import ConfigurationError, CorpusError
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import save_model
from vqspeech.training.config import from_mapping
from vqspeech.training.data.coded import CodedStore
from vqspeech.training.data.codestore import extract_codes
from vqspeech.training.data.packing import write_pack
from vqspeech.training.loop import train

Settings = dict[str, Any]


@pytest.fixture(scope="module")
def pack(
    sound_store: Path, tiny_model: Autoencoder, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the pack of the store with the codes of the tiny model."""
    folder, store = tmp_path_factory.mktemp("packed"), PackedStore(sound_store)
    coded = CodedStore(store, extract_codes(tiny_model, store, folder / "codes"))
    write_pack(coded, folder / "pack", origin="sung", model="tiny")
    return folder / "pack"


@pytest.fixture
def decoder(settings: Settings, tiny_model_file: Path) -> Settings:
    """Return settings of a decoder that learns on the codes of the tiny model."""
    return settings | {
        "init": str(tiny_model_file),
        "learn": "decoder",
        "spectral": settings["spectral"] | {"steps": 0},
        "perturb": settings["perturb"] | {"share": 0.0},
    }


def _trained(settings: Settings, store: Path, folder: Path) -> dict[str, torch.Tensor]:
    own = settings | {
        "data": settings["data"] | {"store": str(store)},
        "run": settings["run"] | {"dir": str(folder)},
    }
    file = train(from_mapping(own))
    assert file is not None
    return load_file(file)


def test_a_pack_teaches_what_its_store_teaches(
    decoder: Settings, sound_store: Path, pack: Path, tmp_path: Path
) -> None:
    """Bit for bit: levels and codes are those that are computed from the store."""
    ours = _trained(decoder, pack, tmp_path / "pack")
    theirs = _trained(decoder, sound_store, tmp_path / "store")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("change", [{"init": ""}, {"learn": "all"}])
def test_a_pack_is_for_codes_that_stay(
    decoder: Settings, pack: Path, tmp_path: Path, change: dict[str, str]
) -> None:
    """There is no sound in it to encode."""
    steps = decoder["spectral"] | {"steps": 4}
    with pytest.raises(ConfigurationError, match="a pack has codes and no sound for an encoder"):
        _trained(decoder | {"spectral": steps} | change, pack, tmp_path / "run")


def test_a_pack_of_other_codes_is_refused(decoder: Settings, pack: Path, tmp_path: Path) -> None:
    """A model would learn from codes that mean something else to it."""
    other = Autoencoder(from_mapping(decoder).model, ["ann"])
    save_model(other, tmp_path / "other.safetensors")
    decoder["init"] = str(tmp_path / "other.safetensors")
    with pytest.raises(CorpusError, match=f"the model has {other.codebook_id}; take the model"):
        _trained(decoder, pack, tmp_path / "run")


def test_a_damaged_pack_is_one_line(decoder: Settings, pack: Path, tmp_path: Path) -> None:
    """The file is named before anything is trained."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in pack.iterdir():
        (copy / path.name).write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorpusError, match=r"copy/pack.json|copy/levels-000.xz: \d+ bytes found"):
        _trained(decoder, copy, tmp_path / "run")
    assert not (tmp_path / "run").exists()
