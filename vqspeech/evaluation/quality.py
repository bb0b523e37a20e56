"""How good it sounds: opinions of listeners as a network predicts them, without a reference to compare with."""

import warnings
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio import resample

_RATE = 16000


class Opinion(NamedTuple):
    """Mean opinion scores, about 1 (bad) to 5 (excellent).

    Attributes
    ----------
    overall, signal, background : float
        Of the whole, of the speech, and of what is behind it (ITU-T P.835).
    """

    overall: float
    signal: float
    background: float


class Listeners(Protocol):
    """What has an opinion of a recording."""

    def judge(self, wav: NDArray[np.float32], sample_rate: int) -> Opinion | None:
        """Judge a recording (samples,); None where there are no samples."""


class Dnsmos:
    """DNSMOS P.835 (Reddy et al. 2022) as speechmos carries it.

    It listens to windows of 9 s; what is shorter is repeated.

    Parameters
    ----------
    threads : int
        CPU threads.
    """

    def __init__(self, threads: int = 1) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import onnxruntime
            from speechmos import dnsmos
        models = Path(dnsmos.__file__).parent / "dnsmos_models"
        files = [str(models / name) for name in ("sig_bak_ovr.onnx", "model_v8.onnx")]
        self._judge = dnsmos.DNSMOS(*files)
        # It takes every core, and where others work too their waiting for one another makes it five times slower.
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._judge.onnx_sess, self._judge.p808_onnx_sess = (
            onnxruntime.InferenceSession(file, options) for file in files
        )

    def judge(self, wav: NDArray[np.float32], sample_rate: int) -> Opinion | None:
        """Judge a recording (samples,)."""
        sound = np.clip(resample(wav, sample_rate, _RATE), -1, 1)
        if not len(sound):
            return None
        found = self._judge(sound, _RATE, is_personalized_MOS=False)
        return Opinion(*(float(found[f"{key}_mos"]) for key in ("ovrl", "sig", "bak")))
