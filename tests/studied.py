"""Studies of codes whose relation to the phones is known, for tests of what is made of a study."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from labelled_store import HOP, RATE, ReadingModel, Spoken, write_store

from vqspeech.analysis.material import Material, choose_material
from vqspeech.analysis.study import SystemStudy, study_system
from vqspeech.analysis.systems import MODEL, System
from vqspeech.corpus.store import PackedStore

NAMES = ["aa", "s", "iy", "pau"]


def reading_system(name: str = "reading", kind: str = MODEL, codes: int = 8) -> System:
    """Make a system that reads the codes that a labelled store spells out."""
    model = ReadingModel(codes)
    return System(
        name=name,
        kind=kind,
        sample_rate=RATE,
        hop=HOP,
        codebook_size=codes,
        vectors=lambda wav: np.eye(codes, dtype=np.float32)[model.encode(wav)],
        quantize=lambda vectors: vectors.argmax(axis=1),
    )


def spoken_store(
    folder: Path,
    codes_of: Callable[[np.ndarray], np.ndarray],
    train: int = 12,
    test: int = 8,
    frames: int = 120,
) -> PackedStore:
    """Write utterances of phones that last a few frames, with the codes `codes_of` gives them."""
    rng = np.random.default_rng(0)
    made = []
    for split in ["train"] * train + ["test"] * test:
        phones = np.repeat(rng.integers(4, size=frames), rng.integers(2, 9, size=frames))[:frames]
        made.append(Spoken(split, codes_of(phones), _lab(phones)))
    return PackedStore(write_store(folder, made))


def _lab(phones: np.ndarray) -> str:
    """Label runs of one phone: unlike a label a frame, boundaries are where the phone changes."""
    edges = [0, *(np.flatnonzero(np.diff(phones)) + 1), len(phones)]
    unit = HOP * 10_000_000 // RATE
    lines = [f"{a * unit} {b * unit} {NAMES[phones[a]]}" for a, b in pairwise(edges)]
    return "\n".join(lines) + "\n"


def studied(
    folder: Path, codes_of: Callable[[np.ndarray], np.ndarray], system: System | None = None
) -> tuple[PackedStore, Material, SystemStudy]:
    """Study the codes that `codes_of` gives to phones."""
    store = spoken_store(folder, codes_of)
    material = choose_material(store, 20, seed=0)
    # No pitch: samples that spell codes are no sound.
    return store, material, study_system(system or reading_system(), store, material, pitch={})
