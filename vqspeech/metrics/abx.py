"""ABX: how often a token is nearer to one of another phone than to one of its own.

The machine ABX task of Schatz et al. 2013 ("Evaluating speech features with the Minimal-Pair ABX task", Interspeech),
with the conventions of Libri-Light (Kahn et al. 2020) and ZeroSpeech. In a triple, a and x are two tokens of one phone
and b is a token of another; it is an error when ``d(a, x) > d(b, x)``, half an error when the two are equal. Chance is
0.5.

Distances come from dynamic time warping (`vqspeech.metrics.dtw`), averaged along the path: codes differ by 0 or 1,
vectors by their angle, ``arccos(cos(u, v)) / pi``, in [0, 1].

Within speakers a, b and x are of one speaker; across speakers a and b are of one and x of another. In context all three
have the same left and right neighbours; without context neighbours are ignored. `phone_items` makes tokens from labels:
phones alone, for the phone ABX, or with their neighbours, for the triphone ABX of ZeroSpeech, scored in context.

Averages: the error of a cell, which is (phone of a and x, phone of b, context, speaker or pair of speakers), is the
mean over its triples. Cells are averaged over contexts, then over speakers or pairs of speakers, then over ordered
pairs of phones, where they have triples.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vqspeech.labels.frames import Interval, frames_within
from vqspeech.labels.phones import SILENCE, to_arpabet
from vqspeech.metrics.bootstrap import Interval95, interval_95

_TIE = 1e-7
"""Distances nearer than this are equal: two angles of equal vectors may differ by rounding."""

_COST_CELLS = 4_000_000
"""How many frame distances are in memory at once."""


@dataclass(frozen=True, slots=True)
class Item:
    """One token of a phone.

    Attributes
    ----------
    utterance : int
        Index into the features.
    start, end : int
        Its frames are ``[start, end)``, at least one.
    phone, left, right : str
        The phone and its neighbours.
    speaker : str
        The speaker.
    """

    utterance: int
    start: int
    end: int
    phone: str
    left: str
    right: str
    speaker: str


@dataclass(frozen=True)
class AbxScore:
    """An ABX error, to be compared with chance, 0.5.

    Attributes
    ----------
    error : float
        In [0, 1]; nan when there is no triple.
    interval : Interval95
        95 % bootstrap interval over utterances.
    pairs : int
        Ordered pairs of phones averaged.
    triples : int
        Triples compared.
    """

    error: float
    interval: Interval95
    pairs: int
    triples: int


_NO_SCORE = AbxScore(float("nan"), interval_95([]), 0, 0)


@dataclass(frozen=True)
class _Cells:
    """Errors of the cells that share all but the phone of b: (others, 1 + resamples)."""

    phone: str
    others: list[str]
    errors: NDArray[np.float64]
    triples: int


def phone_items(
    intervals: Sequence[Interval],
    times_s: ArrayLike,
    utterance: int,
    speaker: str,
    *,
    triphones: bool = False,
) -> list[Item]:
    """List the phones of an utterance as tokens for `abx`.

    Parameters
    ----------
    intervals : sequence of Interval
        Labels of the utterance, in order of time; they are folded by `to_arpabet`.
    times_s : array_like of float, shape (frames,)
        Centre of each frame, increasing, from `frame_centres_s`.
    utterance : int
        Index of the utterance's features.
    speaker : str
        The speaker.
    triphones : bool
        Extend each token by its left and right neighbour, and leave out tokens beside silence.

    Returns
    -------
    list of Item
        In order of time. A token has the frames whose centre is in its interval; silence, labels outside the phone set,
        and phones without a frame are left out. The neighbour in unlabelled time is silence; an unknown neighbour is
        named as in the file.
    """
    bounds = frames_within(intervals, times_s)
    phones = [to_arpabet(interval.label) for interval in intervals]
    items = []
    for index, (interval, phone) in enumerate(zip(intervals, phones, strict=True)):
        if phone is None or phone == SILENCE:
            continue
        before, after = index - 1, index + 1
        joined_left = index > 0 and intervals[before].end_s >= interval.start_s
        joined_right = after < len(intervals) and interval.end_s >= intervals[after].start_s
        left = (phones[before] or intervals[before].label) if joined_left else SILENCE
        right = (phones[after] or intervals[after].label) if joined_right else SILENCE
        start, end = bounds[index]
        if triphones:
            if SILENCE in (left, right):
                continue
            start, end = bounds[before][0], bounds[after][1]
        if start < end:
            items.append(Item(utterance, int(start), int(end), phone, left, right, speaker))
    return items


def abx(
    items: Sequence[Item],
    features: Sequence[NDArray[Any]],
    *,
    in_context: bool,
    across_speakers: bool,
    max_tokens: int = 30,
    max_x_speakers: int = 5,
    resamples: int = 200,
    seed: int = 0,
) -> AbxScore:
    """Measure the ABX error of codes or vectors.

    Parameters
    ----------
    items : sequence of Item
        Tokens to compare.
    features : sequence of ndarray
        Of each utterance: codes, integers of shape (frames,), or vectors, floats of shape (frames, dim). A vector of
        zeros is at a right angle to every other.
    in_context : bool
        Compare only tokens with the same neighbours.
    across_speakers : bool
        Take x from another speaker than a and b.
    max_tokens : int
        Most tokens drawn of each phone, context and speaker; Libri-Light draws 10 in context. Without context, time
        grows with its square.
    max_x_speakers : int
        Across speakers, most other speakers of x for each speaker of a and b (and context); 5 in Libri-Light.
    resamples : int
        Bootstrap draws of the interval: utterances are drawn with replacement, and a triple counts as often as its
        three utterances were drawn, multiplied. The draws are shifted so that their mean is the score.
    seed : int
        Of all draws.

    Returns
    -------
    AbxScore
        Deterministic in the arguments.

    Raises
    ------
    ValueError
        When a token lies outside its utterance, or features are neither codes nor finite vectors, or not all of one
        kind and size.
    """
    arrays = _checked(items, features)
    if not items:
        return _NO_SCORE
    rng = np.random.default_rng(seed)
    utterances = len(arrays)
    draws = rng.multinomial(utterances, np.full(utterances, 1 / utterances), size=resamples)
    # Row 0 counts every utterance once: the score itself.
    weights = np.concatenate([np.ones((1, utterances)), draws.astype(np.float64)])
    errors: list[NDArray[np.float64]] = []
    keys: list[tuple[tuple[str, str], tuple[str, str]]] = []
    triples = 0
    for by_speaker in _by_context(items, in_context, max_tokens, rng):
        for speaker, phones in by_speaker.items():
            if len(phones) < 2:
                continue
            others = [speaker]
            if across_speakers:
                others = _at_most([s for s in by_speaker if s != speaker], max_x_speakers, rng)
            for other in others:
                for cells in _compare(
                    phones, by_speaker[other], arrays, weights, same=not across_speakers
                ):
                    errors.extend(cells.errors)
                    keys.extend(((cells.phone, b), (speaker, other)) for b in cells.others)
                    triples += cells.triples
    if not errors:
        return _NO_SCORE
    by_pair_and_speakers, kept = _mean_by(np.array(errors), keys)
    by_pair, pairs = _mean_by(by_pair_and_speakers, [pair for pair, _ in kept])
    means, _ = _mean_by(by_pair, [0] * len(by_pair))
    return AbxScore(
        float(means[0, 0]), _centred_interval(means[0, 0], means[0, 1:]), len(pairs), triples
    )


def _centred_interval(error: float, resampled: NDArray[np.float64]) -> Interval95:
    known = resampled[~np.isnan(resampled)]
    if not known.size:
        return interval_95(known)
    # A draw loses the rare cells, whose errors differ from the others': its mean is off the score.
    return interval_95(np.clip(known - known.mean() + error, 0, 1))


def _checked(items: Sequence[Item], features: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    arrays = []
    for index, feature in enumerate(map(np.asarray, features)):
        if feature.ndim == 1 and np.issubdtype(feature.dtype, np.integer):
            arrays.append(feature)
        elif feature.ndim == 2 and np.issubdtype(feature.dtype, np.floating):
            vectors = feature.astype(np.float64)
            if not np.isfinite(vectors).all():
                raise ValueError(f"features {index} hold values that are not finite")
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            arrays.append(vectors / np.where(norms > 0, norms, 1))
        else:
            raise ValueError(
                f"features {index} are {feature.dtype} of shape {feature.shape}; expected integer "
                "codes (frames,) or float vectors (frames, dim)"
            )
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ValueError("features are not all codes, or not all vectors of one size")
    for item in items:
        if not 0 <= item.utterance < len(arrays):
            raise ValueError(f"{item} is of none of the {len(arrays)} utterances")
        if not 0 <= item.start < item.end <= len(arrays[item.utterance]):
            raise ValueError(f"{item} is not inside {len(arrays[item.utterance])} frames")
    return arrays


def _by_context(
    items: Sequence[Item], in_context: bool, max_tokens: int, rng: np.random.Generator
) -> list[dict[str, dict[str, list[Item]]]]:
    """Group tokens as context → speaker → phone, all sorted, and thin each group out."""
    groups: dict[tuple[str, str], dict[str, dict[str, list[Item]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for item in items:
        context = (item.left, item.right) if in_context else ("", "")
        groups[context][item.speaker][item.phone].append(item)
    thinned = []
    for context in sorted(groups):
        speakers = groups[context]
        if len({phone for phones in speakers.values() for phone in phones}) < 2:
            continue
        thinned.append(
            {
                speaker: {
                    phone: _at_most(speakers[speaker][phone], max_tokens, rng)
                    for phone in sorted(speakers[speaker])
                }
                for speaker in sorted(speakers)
            }
        )
    return thinned


def _at_most(items: list[Any], limit: int, rng: np.random.Generator) -> list[Any]:
    if len(items) <= limit:
        return items
    return [items[i] for i in np.sort(rng.choice(len(items), limit, replace=False))]


def _compare(
    phones: dict[str, list[Item]],
    x_phones: dict[str, list[Item]],
    arrays: list[NDArray[Any]],
    weights: NDArray[np.float64],
    *,
    same: bool,
) -> list[_Cells]:
    """Score every cell whose a and b are among `phones` and whose x is among `x_phones`."""
    usable = {
        phone: tokens
        for phone, tokens in x_phones.items()
        if phone in phones and not (same and len(tokens) < 2)
    }
    if not usable:
        return []
    rows = [item for tokens in phones.values() for item in tokens]
    columns = [item for tokens in usable.values() for item in tokens]
    distances = _distances(rows, columns, arrays)
    names = list(phones)
    starts = np.cumsum([0, *(len(tokens) for tokens in phones.values())])
    row_weights = weights[:, [item.utterance for item in rows]]
    found, column = [], 0
    for phone, tokens in usable.items():
        index, last = names.index(phone), column + len(tokens)
        a = slice(starts[index], starts[index + 1])
        b = np.r_[0 : a.start, a.stop : len(rows)]
        x_weights = weights[:, [item.utterance for item in tokens]]
        to_a, to_b = distances[a, None, column:last], distances[None, b, column:last]
        wrong = (to_a > to_b + _TIE) + 0.5 * (abs(to_a - to_b) <= _TIE)
        n_a, n_b, n_x = wrong.shape
        pairs = row_weights[:, a].sum(axis=1) * x_weights.sum(axis=1)
        if same:
            # x is not its own a.
            wrong[np.arange(n_a), :, np.arange(n_x)] = 0
            pairs = pairs - (x_weights**2).sum(axis=1)
        over_x = (x_weights @ wrong.reshape(-1, n_x).T).reshape(-1, n_a, n_b)
        over_a = np.einsum("rab,ra->rb", over_x, row_weights[:, a])
        sizes = np.delete(np.diff(starts), index)
        firsts = np.cumsum([0, *sizes[:-1]])
        above = np.add.reduceat(over_a * row_weights[:, b], firsts, axis=1)
        below = np.add.reduceat(row_weights[:, b], firsts, axis=1) * pairs[:, None]
        errors = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
        triples = n_b * n_x * (n_a - 1 if same else n_a)
        found.append(_Cells(phone, [n for n in names if n != phone], errors.T, triples))
        column = last
    return found


def _distances(
    rows: list[Item], columns: list[Item], arrays: list[NDArray[Any]]
) -> NDArray[np.float64]:
    from vqspeech.metrics.dtw import warped_distances

    column_frames, column_bounds = _joined(columns, arrays)
    at_once = max(1, _COST_CELLS // len(column_frames))
    distances, first = [], 0
    lengths = np.cumsum([item.end - item.start for item in rows])
    while first < len(rows):
        done = lengths[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(lengths, done + at_once, side="right")))
        frames, bounds = _joined(rows[first:last], arrays)
        cost = (
            _angles(frames, column_frames) if frames.ndim == 2 else _unequal(frames, column_frames)
        )
        distances.append(warped_distances(cost, bounds, column_bounds))
        first = last
    return np.concatenate(distances)


def _joined(
    items: list[Item], arrays: list[NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    frames = np.concatenate([arrays[item.utterance][item.start : item.end] for item in items])
    return frames, np.cumsum([0, *(item.end - item.start for item in items)], dtype=np.int64)


def _angles(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    cosines = u @ v.T
    np.clip(cosines, -1, 1, out=cosines)
    return np.arccos(cosines, out=cosines) / np.pi


def _unequal(u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float64]:
    return (u[:, None] != v).astype(np.float64)


def _mean_by(
    values: NDArray[np.float64], keys: Sequence[Any]
) -> tuple[NDArray[np.float64], list[Any]]:
    """Average rows of the same key, passing over nan; keys come in their first order."""
    places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    groups = np.array([places[key] for key in keys])
    order = np.argsort(groups, kind="stable")
    firsts = np.searchsorted(groups[order], np.arange(len(places)))
    ordered = values[order]
    held = ~np.isnan(ordered)
    sums = np.add.reduceat(np.where(held, ordered, 0.0), firsts, axis=0)
    counts = np.add.reduceat(held.astype(np.float64), firsts, axis=0)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0), list(places)
