"""Sound files to codes, block by block, so that hours of sound take constant memory; each file is opened once."""

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from vqspeech.cli.files import Failures, Source
from vqspeech.errors import CorpusError, VqspeechError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from vqspeech.corpus.store import PackedStore
    from vqspeech.models.autoencoder import Autoencoder


class Encoded(NamedTuple):
    """What is read of a recording.

    Attributes
    ----------
    codes : Tensor
        int64, (frames,), or, of a model without codes, latents, (dim, frames).
    samples : int
        Its length at the model's rate.
    contour : ndarray or None
        Its pitch contour, see `vqspeech.audio.pitch`, where it was tracked.
    """

    codes: "torch.Tensor"
    samples: int
    contour: "np.ndarray | None"


def encode_file(
    model: "Autoencoder",
    path: Path,
    *,
    tracked: bool = False,
    progress: Callable[[float], object] = lambda _: None,
) -> Encoded:
    """Encode a sound file in constant memory, `tracked` with its pitch; `progress` is called with the share done."""
    import torch

    from vqspeech import audio
    from vqspeech.audio.pitch import Tracker

    samples, total = 0, 1
    tracker = Tracker(model.sample_rate) if tracked else None

    def opened(header: "audio.AudioInfo") -> None:
        nonlocal total
        total = max(1, round(header.duration_s * model.sample_rate))

    def blocks() -> "Iterator[np.ndarray]":
        nonlocal samples
        for block in audio.read_blocks(path, model.sample_rate, opened=opened):
            samples += len(block)
            if tracker is not None:
                tracker.add(block)
            progress(samples / total)
            yield block

    codes = torch.cat(list(model.conditioning_blocks(blocks())), -1)
    return Encoded(codes, samples, None if tracker is None else tracker.finish())


def encode_all(
    model: "Autoencoder",
    sources: list[Source],
    failures: Failures,
    files: int = 1,
    *,
    tracked: bool = False,
) -> Iterator[tuple[Source, Encoded]]:
    """Encode files in turn; one that cannot be read goes to `failures`, with the `files` that are made of each."""
    from vqspeech.jobs.progress import Progress

    # How much sound a file holds is known once it is open; how many bytes it has, before.
    sizes = [source.path.stat().st_size if source.path.is_file() else 0 for source in sources]
    with Progress(sum(sizes), "bytes", "encoding") as bar:
        before = 0
        for source, size in zip(sources, sizes, strict=True):

            def report(share: float, end: int = before + size, size: int = size) -> None:
                bar.update(end - size + round(size * min(share, 1.0)) - bar.done)

            before += size
            try:
                encoded = encode_file(model, source.path, tracked=tracked, progress=report)
            except VqspeechError as error:
                failures.add(error, files)
                report(1.0)
            else:
                yield source, encoded


def find_stored(store: "PackedStore", split: str) -> dict[Source, int]:
    """List the utterances of a split with their places in the store.

    Raises
    ------
    CorpusError
        When there are none.
    """
    found = {}
    for index in store.indices(split).tolist():
        utterance = store.utterances[index]
        # A name with a separator or a dot in it stays one name.
        name = f"{utterance.utterance}.wav".replace("/", "_")
        place = PurePath(utterance.speaker.replace("/", "_"), name)
        found[Source(utterance.path, place)] = index
    if not found:
        raise CorpusError(f"{store.path}: nothing in the {split} split")
    return found


def encode_stored(
    model: "Autoencoder", store: "PackedStore", indices: dict[Source, int], sources: list[Source]
) -> "Iterator[tuple[Source, Encoded]]":
    """Encode utterances of a store in turn with progress.

    Raises
    ------
    ConfigurationError
        When the rates differ.
    """
    from vqspeech.jobs.progress import Progress

    store.require_rate(model.sample_rate)
    total = sum(store.utterances[indices[source]].samples for source in sources)
    with Progress(total, "samples", "encoding") as progress:
        for source in sources:
            wav = store.wav(indices[source])
            yield source, Encoded(model.encode(wav), len(wav), None)
            progress.update(len(wav))
