"""Batches of a step: a pure function of (seed, step, rank), cut out of training recordings alone."""

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vqspeech.errors import CorpusError
from vqspeech.training.data.segments import Batch, Phase, Segments

HOP = 4


@dataclass
class Counted:
    """A store in memory whose sample n has the value n + 1, so that a batch says where it was cut."""

    rows: list[tuple[str, str, int]]
    path: str = "counted"

    @cached_property
    def utterances(self) -> list[SimpleNamespace]:
        ends = np.cumsum([samples for *_, samples in self.rows])
        return [
            SimpleNamespace(
                speaker=speaker, split=split, samples=samples, offset=int(end) - samples
            )
            for (speaker, split, samples), end in zip(self.rows, ends, strict=True)
        ]

    @property
    def speakers(self) -> list[str]:
        return sorted({speaker for speaker, split, _ in self.rows if split == "train"})

    @cached_property
    def audio(self) -> np.ndarray:
        return np.arange(1, 1 + sum(samples for *_, samples in self.rows), dtype=np.int16)


STORE = Counted(
    [
        ("eve", "train", 101),
        ("ann", "valid", 50),
        ("zoe", "valid", 20),
        ("bob", "train", 7),
        ("ann", "train", 33),
        ("bob", "test", 60),
        ("ann", "train", 1),
        ("eve", "train", 18),
    ]
)
WARM, JOINT = Phase(5, 3, 24, 0), Phase(20, 2, 32, 8)


def _segments(seed: int = 0, rank: int = 0, phases: list[Phase] | None = None) -> Segments:
    return Segments(STORE, phases or [WARM, JOINT], HOP, seed, rank)


def _same(one: Batch, two: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def _many(steps: int = 3000) -> list[Batch]:
    segments = _segments(phases=[Phase(steps, 4, 32, 8)])
    return [segments[step] for step in range(steps)]


def test_batch_is_a_function_of_seed_step_and_rank() -> None:
    """Asked again, by another object, in another order, among other draws: the same batch."""
    one, two = _segments(), _segments()
    forwards = [one[step] for step in range(len(one))]
    np.random.default_rng(1).random(5)
    np.random.seed(7)
    torch.manual_seed(9)
    backwards = [two[step] for step in reversed(range(len(two)))][::-1]
    assert all(_same(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_batches_differ_in_seed_step_and_rank() -> None:
    """No two of all batches of three seeds and three ranks are the same."""
    phases = [Phase(10, 4, 32, 8)]
    seen = {
        b"".join(tensor.numpy().tobytes() for tensor in _segments(seed, rank, phases)[step])
        for seed in range(3)
        for rank in range(3)
        for step in range(10)
    }
    assert len(seen) == 3 * 3 * 10


def test_batches_do_not_depend_on_how_much_training_was_planned() -> None:
    """More steps in the last phase leave the batches of the earlier ones alone."""
    longer = Phase(200, JOINT.batch, JOINT.segment, JOINT.crop)
    short, long = _segments(), _segments(phases=[WARM, longer])
    assert len(long) == 205
    assert all(_same(short[step], long[step]) for step in range(len(short)))


def test_phases_follow_one_another() -> None:
    """Steps up to the end of a phase have its shape; the next one starts there and has no end."""
    segments = _segments()
    assert len(segments) == 25
    assert [segments.plan.phase(step) for step in (0, 4)] == [WARM, WARM]
    assert [segments.plan.phase(step) for step in (5, 24, 25, 1000)] == [JOINT] * 4
    assert segments[4].pcm.shape == (3, 24)
    assert segments[5].pcm.shape == (2, 32)


def test_types_and_speakers_are_those_of_the_model() -> None:
    """int16 sound and int64 numbers; a speaker is the place of its name among the training speakers."""
    assert STORE.speakers == ["ann", "bob", "eve"]
    speaker_at = np.repeat(
        [STORE.speakers.index(s) if p == "train" else -1 for s, p, _ in STORE.rows],
        [samples for *_, samples in STORE.rows],
    )
    for batch in _many(200):
        assert batch.pcm.dtype == torch.int16
        assert {t.dtype for t in (batch.speaker, batch.valid, batch.crop)} == {torch.int64}
        assert batch.speaker.tolist() == [speaker_at[n - 1] for n in batch.pcm[:, 0].tolist()]


def test_segments_are_stretches_of_one_recording_and_zeros_after_its_end() -> None:
    """Up to `valid` samples follow one another within one utterance; a short one is whole, then zeros."""
    bounds = [(u.offset, u.offset + u.samples) for u in STORE.utterances]
    for batch in _many(500):
        for pcm, valid in zip(batch.pcm.long(), batch.valid.tolist(), strict=True):
            start = int(pcm[0]) - 1
            assert pcm[:valid].tolist() == [*range(start + 1, start + valid + 1)]
            assert pcm[valid:].tolist() == [0] * (32 - valid)
            (begin, end) = next(b for b in bounds if b[0] <= start < b[1])
            assert valid == min(32, end - begin)
            assert start + valid <= end


def test_crops_are_whole_frames_inside_the_segment_that_start_in_the_recording() -> None:
    """A crop never leaves the segment, and has a recorded sample to learn from."""
    crops = []
    for batch in _many(500):
        assert (batch.crop >= 0).all()
        assert (batch.crop * HOP + 8 <= 32).all()
        assert (batch.crop * HOP < batch.valid).all()
        crops += batch.crop[batch.valid == 32].tolist()
    assert {*crops} == {*range((32 - 8) // HOP + 1)}


def test_every_training_sample_is_reached_and_no_other() -> None:
    """Over many steps encoder and WaveNet see all of the training split, and nothing of the others."""
    train = np.repeat(
        [split == "train" for _, split, _ in STORE.rows], [samples for *_, samples in STORE.rows]
    )
    encoder, wavenet = np.zeros(len(train), int), np.zeros(len(train), int)
    for batch in _many():
        rows = zip(batch.pcm.long(), batch.valid.tolist(), batch.crop.tolist(), strict=True)
        for pcm, valid, crop in rows:
            encoder[pcm[:valid] - 1] += 1
            wavenet[pcm[crop * HOP : min(valid, crop * HOP + 8)] - 1] += 1
    assert ((encoder > 0) == train).all()
    assert ((wavenet > 0) == train).all()


def test_samples_inside_a_long_recording_are_seen_equally_often() -> None:
    """Away from its ends every sample of a long recording is as likely as any other, and there not much less."""
    store = Counted([("ann", "train", 4000)])
    seen = np.zeros(4000, int)
    segments = Segments(store, [Phase(1, 64, 100, 0)], HOP, 0)
    for step in range(400):
        starts = segments[step].pcm[:, 0].long().numpy() - 1
        for start in starts:
            seen[start : start + 100] += 1
    inside = seen[200:-200].reshape(-1, 300).mean(1)
    assert inside == pytest.approx(seen.mean(), rel=0.15)
    assert 0.3 * seen.mean() < seen.min() <= seen.max() < 2 * seen.mean()


@pytest.mark.parametrize(("balance", "shares"), [(0.0, [34, 7, 119]), (1.0, [1, 1, 1])])
def test_speakers_are_heard_as_often_as_asked(balance: float, shares: list[int]) -> None:
    """Unbalanced in proportion to their samples, fully balanced equally often, whatever their recordings' lengths."""
    segments = _segments(phases=[Phase(1000, 10, 4, 4, balance)])
    heard = np.bincount(np.concatenate([segments[step].speaker for step in range(1000)]))
    expected = 10_000 * np.array(shares) / sum(shares)
    # three standard deviations of a count
    assert (abs(heard - expected) < 3 * np.sqrt(expected)).all()
    halfway = _segments(phases=[Phase(1000, 10, 4, 4, 0.5)])
    of_bob = np.bincount(np.concatenate([halfway[step].speaker for step in range(1000)]))[1]
    assert of_bob == pytest.approx(10_000 * 7**0.5 / (34**0.5 + 7**0.5 + 119**0.5), rel=0.1)


def test_crop_as_long_as_the_segment_starts_at_its_start() -> None:
    """There is one place for it, in short recordings too."""
    segments = _segments(phases=[Phase(1, 8, 32, 32)])
    assert all((segments[step].crop == 0).all() for step in range(20))


@pytest.mark.parametrize(
    ("segment", "crop"), [(30, 8), (32, 6), (32, 36)], ids=["segment", "crop", "too long"]
)
def test_lengths_that_are_no_whole_frames_are_refused(segment: int, crop: int) -> None:
    """Segment and crop are multiples of the hop, and the crop fits; else both are named with the hop."""
    with pytest.raises(CorpusError, match=f"segment {segment} and crop {crop} .* of {HOP} samples"):
        _segments(phases=[WARM, Phase(1, 1, segment, crop)])


def test_store_without_training_speech_is_refused() -> None:
    """There is nothing to draw from."""
    with pytest.raises(CorpusError, match="no utterances to train on"):
        Segments(Counted([("ann", "test", 100)]), [JOINT], HOP, 0)
