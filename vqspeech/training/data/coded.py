"""Recordings as levels beside their codes, to train and score a decoder with fixed codes.

A `CodedCorpus` is a packed store and its codes, or a pack, which carries both to a machine without sound library or
encoder. Sample t of an utterance belongs to code t // hop.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vqspeech.corpus.store import PackedStore
from vqspeech.errors import CorpusError

if TYPE_CHECKING:
    from vqspeech.training.data.codestore import CodeStore


@dataclass(frozen=True)
class CodedUtterance:
    """One utterance.

    Attributes
    ----------
    corpus, speaker, utterance, split : str
        As in the packed store.
    offset, samples : int
        Position of its levels.
    frame, frames : int
        Position of its codes; ``frames`` is ``ceil(samples / hop)``.
    """

    corpus: str
    speaker: str
    utterance: str
    split: str
    offset: int
    samples: int
    frame: int
    frames: int


class CodedCorpus(Protocol):
    """Levels and codes of a corpus, end to end."""

    @property
    def path(self) -> Path:
        """Its folder, for messages."""

    @property
    def sample_rate(self) -> int:
        """Hz."""

    @property
    def hop(self) -> int:
        """Samples a code."""

    @property
    def quantization(self) -> int:
        """Number of µ-law levels."""

    @property
    def codebook_id(self) -> str:
        """`Autoencoder.codebook_id` of the model that encoded."""

    @property
    def manifest_sha256(self) -> str:
        """`PackedStore.manifest_sha256` of the store that it comes from."""

    @property
    def utterances(self) -> Sequence[CodedUtterance]:
        """In the order of levels and codes."""

    @property
    def speakers(self) -> list[str]:
        """Speakers with training utterances, sorted."""

    @property
    def codes(self) -> np.ndarray:
        """All codes, uint16, (frames,)."""

    def levels(self, begin: int, end: int) -> np.ndarray:
        """Return samples [begin, end) of all levels, uint8."""


def require_codebook(corpus: CodedCorpus, codebook_id: str | None) -> None:
    """Raise `CorpusError` where the codes of a corpus are of another codebook than a model's."""
    if corpus.codebook_id != codebook_id:
        raise CorpusError(
            f"{corpus.path}: codes of codebook {corpus.codebook_id}, the model has {codebook_id or 'none'};"
            " take the model that the codes were made with, or make them anew with this one"
        )


class CodedStore:
    """A packed store beside its codes, as a `CodedCorpus`, with `quantization` µ-law levels, computed on demand.

    Of utterances that are coded several times the unshifted one is taken. `CorpusError` where the codes are of another
    store, or there are more than 256 levels.
    """

    def __init__(self, store: PackedStore, coded: "CodeStore", quantization: int = 256) -> None:
        if quantization > 256:
            raise CorpusError(f"{quantization} levels: at most 256 fit into a byte")
        self.path, self.store = store.path, store
        self.manifest_sha256 = store.manifest_sha256
        self.sample_rate, self.hop, self.quantization = coded.sample_rate, coded.hop, quantization
        self.codebook_id = coded.codebook_id
        self.codes: np.ndarray = coded.codes
        self.speakers = store.speakers
        unshifted = [sequence for sequence in coded.sequences if not sequence.shift]
        names = [(u.corpus, u.speaker, u.utterance) for u in store.utterances]
        if names != [(s.corpus, s.speaker, s.utterance) for s in unshifted]:
            raise CorpusError(f"{coded.path}: not the codes of {store.path}")
        self.utterances: Sequence[CodedUtterance] = [
            CodedUtterance(*name, u.split, u.offset, u.samples, s.offset, s.frames)
            for name, u, s in zip(names, store.utterances, unshifted, strict=True)
        ]

    @cached_property
    def _table(self) -> np.ndarray:
        """Level of each 16-bit sample, in the order of its bits as an unsigned number."""
        # Packs need this module too, and are read without torch.
        import torch

        from vqspeech.audio.mulaw import mulaw_encode

        pcm = torch.arange(65536, dtype=torch.int32).to(torch.int16)
        return mulaw_encode(pcm.float() / 32768, self.quantization).to(torch.uint8).numpy()

    def levels(self, begin: int, end: int) -> np.ndarray:
        """Return samples [begin, end) of all levels, uint8."""
        return self._table[self.store.audio[begin:end].view(np.uint16)]
