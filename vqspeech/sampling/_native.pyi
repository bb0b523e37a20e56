"""The C++ extension, as cpp/binding.cpp defines it; see `vqspeech.sampling.native`."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

def has_avx2() -> bool: ...

class Network:
    def __init__(
        self,
        arrays: Mapping[str, NDArray[np.float32]],
        dilations: Sequence[int],
        silence: int,
        mode: str,
        instructions: str = "best",
    ) -> None: ...

class Sampler:
    def __init__(
        self,
        network: Network,
        hop: int,
        threads: int,
        inverse_temperature: float,
        top_p: float,
        help: str = "measured",
    ) -> None: ...
    def add(
        self,
        frames: NDArray[np.float32],
        uniforms: NDArray[np.float32],
        given: NDArray[np.int32] | None = None,
        lags: NDArray[np.int64] | None = None,
    ) -> None: ...
    def advance(self, samples: int) -> None: ...
    def drawn(self, stream: int) -> NDArray[np.int32]: ...
    def logits(self, stream: int) -> NDArray[np.float32]: ...
    def time(self, stream: int) -> int: ...
