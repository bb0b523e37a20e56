"""vqspeech: discrete units from raw speech with a VQ-VAE, and speech from the units with a WaveNet.

``model = vqspeech.load("vctk")``, by the name of a shipped model or by a path, gives an `Autoencoder`:
``model.encode(wav)``, ``model.decode(codes, speaker)``, ``model.stream(codes, speaker)``,
``model.convert(wav, speaker)``. ``prior = vqspeech.load_prior("vctk")`` gives the `Prior` over its codes:
``prior.sample(frames, speaker, seed=0)``, ``prior.nll(codes)``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PLACES = {
    "Autoencoder": "vqspeech.models.autoencoder",
    "Prior": "vqspeech.models.prior",
    "Sampling": "vqspeech.sampling.engine",
    "VqspeechError": "vqspeech.errors",
    "load_model": "vqspeech.models.checkpoint",
    "load_prior": "vqspeech.models.checkpoint",
}
__all__ = [
    "Autoencoder",
    "Prior",
    "Sampling",
    "VqspeechError",
    "__version__",
    "load",
    "load_prior",
]

if TYPE_CHECKING:
    from vqspeech.errors import VqspeechError
    from vqspeech.models.autoencoder import Autoencoder
    from vqspeech.models.checkpoint import load_model as load
    from vqspeech.models.checkpoint import load_prior
    from vqspeech.models.prior import Prior
    from vqspeech.sampling.engine import Sampling


def __getattr__(name: str) -> Any:
    """Import torch only when something that needs it is asked for: ``vqspeech --help`` stays quick."""
    if name not in __all__:
        raise AttributeError(f"module 'vqspeech' has no attribute {name!r}")
    own = "load_model" if name == "load" else name
    return getattr(import_module(_PLACES[own]), own)
