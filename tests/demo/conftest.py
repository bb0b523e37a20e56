import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vqspeech.demo.server import listen, make_app, private_folder
from vqspeech.demo.sounds import Visitors
from vqspeech.demo.studio import Studio
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.prior import Prior
from vqspeech.sampling import ENGINES, Sampling, resolve

LONGEST_S = 12.0


@pytest.fixture
def studio(tiny_model: Autoencoder, tiny_prior: Prior) -> Studio:
    """Return the tiny model and its prior at work."""
    sampling = resolve(ENGINES, Sampling(), tiny_model.device)
    return Studio(tiny_model, "tiny", sampling, tiny_prior, LONGEST_S)


@dataclass(frozen=True)
class Served:
    """A demo that is served: its address, its visitors, and the folder of uploads."""

    url: str
    visitors: Visitors
    folder: Path


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    """Return a function that serves a studio on a free port until the test ends."""
    pytest.importorskip("gradio", reason="needs gradio (the extra `demo`)")
    import uvicorn

    with ExitStack() as ending:

        def start(studio: Studio, at_once: int = 2, waiting: int = 20) -> Served:
            folder = ending.enter_context(private_folder())
            opened = ending.enter_context(listen("127.0.0.1", 0))
            visitors = Visitors()
            app = make_app(studio, visitors, at_once=at_once, waiting=waiting)
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
            server = uvicorn.Server(config)
            thread = threading.Thread(target=lambda: server.run(sockets=[opened]))
            thread.start()

            def end() -> None:
                server.should_exit = True
                thread.join()

            ending.callback(end)
            return Served(f"http://127.0.0.1:{opened.getsockname()[1]}", visitors, Path(folder))

        yield start


@pytest.fixture
def tone(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tone of 440 Hz with a little noise."""

    def write(name: str, duration_s: float) -> Path:
        time = np.arange(round(duration_s * 16000)) / 16000
        noise = np.random.default_rng(0).normal(size=len(time))
        path = tmp_path / name
        soundfile.write(path, 0.3 * np.sin(2 * math.pi * 440 * time) + 0.01 * noise, 16000)
        return path

    return write
