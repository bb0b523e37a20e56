"""A store as a model encodes it: whatever a recording is needed for, it is encoded once and its pitch tracked once."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from vqspeech.audio.pitch import track
from vqspeech.corpus.store import PackedStore
from vqspeech.models.autoencoder import Autoencoder
from vqspeech.models.encoding import Encoding


class EncodedStore:
    """Recordings of a store, by place, as a model encodes them: done when first asked for, and kept."""

    def __init__(self, model: Autoencoder, store: PackedStore) -> None:
        self.model, self.store = model, store
        self._encoding = cache(lambda index: model.encoding(store.wav(index)))
        self._contour = cache(lambda index: track(store.wav(index), store.sample_rate))

    def encoding(self, index: int) -> Encoding:
        """Codes, or latents, and divergence of a recording."""
        return self._encoding(index)

    def codes(self, index: int) -> NDArray[np.int64]:
        """Codes (frames,) of a recording, of a model that has them."""
        return self.encoding(index).conditioning.numpy()

    def contour(self, index: int) -> NDArray[np.float32]:
        """Pitch contour of a recording, see `vqspeech.audio.pitch`."""
        return self._contour(index)
