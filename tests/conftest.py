"""Fixtures for all tests: real speech, the miniature corpus, a tiny model, a folder one may not write to."""

import fcntl
import os
from pathlib import Path

# Before anything imports torch: one thread a process is fastest when pytest runs one process a core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# Processes that fill one cache of numba's together number entries alike, and later runs then call the wrong code.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    cache = Path(__file__).parents[1] / ".pytest_cache" / f"numba-{worker}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))
# No test asks the Hub for anything; those about it make one of their own.
os.environ["HF_HUB_OFFLINE"] = "1"

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import settings

from vqspeech import audio
from vqspeech.corpus.mini import make_mini
from vqspeech.corpus.prepare import find_corpus, prepare
from vqspeech.models import pretrained
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.checkpoint import load_model, load_prior, save_model, save_prior
from vqspeech.models.config import DISCRETE, ModelConfig
from vqspeech.models.prior import Prior, PriorConfig

# A machine that does other work as well may take its time; what is slow by itself is marked so.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

_NOBODY = 65534
ESPEAK_RATE = 22050


@pytest.fixture(scope="session")
def real_speech() -> Path:
    """Return the folder of real recordings beside the repository."""
    folder = Path(__file__).parents[1] / "../shared/speech"
    if not (folder / "manifest.tsv").is_file():
        pytest.skip("real speech is not here: ../shared/speech/manifest.tsv")
    return folder.resolve()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that the processes of one pytest run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def mini_corpus(shared_folder: Path) -> Path:
    """Return the miniature corpus, made once a run."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (the extra `mini`)")
    with (shared_folder / "mini.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return make_mini(shared_folder / "mini")


@pytest.fixture(scope="session")
def mini_store(mini_corpus: Path, shared_folder: Path) -> Path:
    """Return the miniature corpus packed, once a run."""
    with (shared_folder / "store.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = shared_folder / "mini-store"
        return prepare(find_corpus(mini_corpus), out, workers=1, progress=False)


@pytest.fixture(scope="session")
def tiny_config() -> ModelConfig:
    """Return the shape of a model that works in milliseconds; its two parts a frame differ in condition."""
    return ModelConfig(
        sample_rate=16000,
        levels=256,
        dim=8,
        encoder={"strides": [4, 4], "channels": [8, 16], "dilations": [1, 2]},
        bottleneck={"kind": "vq_ema", "codebook_size": 16},
        decoder={
            "dilations": [1, 2, 4],
            "residual_channels": 8,
            "gate_channels": 16,
            "skip_channels": 16,
            "condition_channels": 8,
            "speaker_dim": 4,
            "context": 1,
            "upsample": 2,
        },
    )


def _tiny(config: ModelConfig) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Autoencoder(config, ["p225", "p226", "p227"])


@pytest.fixture(scope="session")
def tiny_model_file(tiny_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model file of a tiny model with random weights."""
    model = _tiny(tiny_config)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(model, path, training={"steps": 0}, scores={"bits_per_sample": 8.0})
    return path


@pytest.fixture(scope="session")
def tiny_model(tiny_model_file: Path) -> Autoencoder:
    """Return the tiny model as loaded from its file; no test may change it."""
    return load_model(tiny_model_file)


@pytest.fixture(scope="session")
def tiny_of_kind(tiny_config: ModelConfig) -> Callable[[str], Autoencoder]:
    """Return a function that makes a tiny model with a bottleneck of some kind, its weights always the same."""

    def make(kind: str) -> Autoencoder:
        bottleneck = {"kind": kind} | ({"codebook_size": 16} if kind in DISCRETE else {})
        return _tiny(replace(tiny_config, bottleneck=bottleneck)).eval()

    return make


@pytest.fixture(scope="session")
def voiced_model_file(tiny_config: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the model file of a tiny model whose decoder takes pitch, with random weights for that too."""
    decoder = {**tiny_config.decoder, "pitch": True, "spectral_channels": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _tiny(replace(tiny_config, decoder=decoder))
        assert model.decoder.pitch is not None
        assert model.decoder.wavenet.taps is not None
        torch.nn.init.normal_(model.decoder.wavenet.taps)
        torch.nn.init.normal_(model.decoder.pitch.columns.weight)
        model.decoder.pitch.voices.copy_(torch.tensor([[7.6, 0.2], [6.8, 0.25], [7.0, 0.1]]))
    path = tmp_path_factory.mktemp("model") / "voiced.safetensors"
    save_model(model, path, training={"steps": 0})
    return path


@pytest.fixture(scope="session")
def voiced_model(voiced_model_file: Path) -> Autoencoder:
    """Return the tiny model that takes pitch; no test may change it."""
    return load_model(voiced_model_file)


@pytest.fixture(scope="session")
def continuous_model_file(
    tiny_of_kind: Callable[[str], Autoencoder], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return the model file of a tiny model without codes."""
    path = tmp_path_factory.mktemp("continuous") / "gaussian.safetensors"
    save_model(tiny_of_kind("gaussian"), path)
    return path


@pytest.fixture(scope="session")
def tiny_prior_file(tiny_model: Autoencoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a prior over the codes of the tiny model, with random weights in all its layers."""
    config = PriorConfig(
        tiny_model.codebook_size, tiny_model.codebook_id, {"width": 8, "dilations": [1, 2, 4]}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = Prior(config, tiny_model.speakers)
        for layer in prior.network.layers:
            torch.nn.init.normal_(layer.output.weight, std=0.5)
        torch.nn.init.normal_(prior.network.speaker.weight)
        torch.nn.init.normal_(prior.network.output.weight)
    path = tmp_path_factory.mktemp("prior") / "tiny-prior.safetensors"
    save_prior(prior, path, training={"steps": 0})
    return path


@pytest.fixture(scope="session")
def tiny_prior(tiny_prior_file: Path) -> Prior:
    """Return the tiny prior as loaded from its file; no test may change it."""
    return load_prior(tiny_prior_file)


@pytest.fixture
def shipped_folder(
    tiny_model_file: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the folder of an installation in which the tiny model is `vctk`, and `phoneme25` is missing."""
    folder = tmp_path_factory.mktemp("shipped")
    shutil.copy(tiny_model_file, folder / "vctk.safetensors")
    (folder / "vctk.md").write_text("# vctk\n\nA tiny one.\n")
    monkeypatch.setattr(pretrained, "FOLDER", folder)
    return folder


class _Harm:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.fixture
def harmful(tmp_path: Path) -> object:
    """Return what makes a file `harmed` in the test's folder when it is unpickled."""
    return _Harm(tmp_path / "harmed")


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """Yield an empty folder that this process may read and not write, even where tests run as root."""
    # Not below tmp_path, whose own folders are closed to the user that root turns into here.
    outside = Path(tempfile.mkdtemp(prefix="vqspeech-test-"))
    folder = outside / "read-only"
    folder.mkdir()
    outside.chmod(0o755)
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(_NOBODY)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(outside)


def _record(path: Path, text: str | None = None, seconds: float = 0.3, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16000))
    audio.write(path, noise, 16000)
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def record() -> Callable[..., Path]:
    """Return a function that writes a short noise, with a text beside it if one is given."""
    return _record


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Return a folder of three speakers who read six sentences, each in an order of their own."""
    sentences = [f"Sentence number {number}." for number in range(6)]
    for shift, speaker in enumerate(("ann", "bob", "çelik")):
        for number in range(6):
            path = tmp_path / "people" / speaker / f"{speaker}_{number:03d}.wav"
            _record(path, sentences[(number + shift) % 6], seed=6 * shift + number)
    return tmp_path / "people"


@pytest.fixture(scope="session")
def say() -> Callable[[str, str], np.ndarray]:
    """Speak a text in one of espeak-ng's voices."""
    pytest.importorskip("espeakng_loader", reason="needs espeakng-loader (the extra `mini`)")
    from vqspeech.corpus.espeak import Synthesizer, Voice

    def speak(text: str, variant: str = "en-us") -> np.ndarray:
        # The library speaks for whoever started it last, who may be another test.
        synthesizer = Synthesizer()
        assert synthesizer.sample_rate == ESPEAK_RATE
        synthesizer.choose(Voice("somebody", variant))
        return synthesizer.speak(text, seed=0).pcm.astype(np.float32) / 32768

    return speak
