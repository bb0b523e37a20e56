"""Scores of codes against phones, from their joint counts n(phone, code) over frames.

A row of the counts is a phone, a column a code, and ``p = n / sum(n)``. Entropies and information are in bits. Every
function is pure; an argument of the wrong shape or range raises `ValueError`.

Map accuracy (of `map_codes`; baseline `majority_share`, control `shuffle_within`) is the score of van den Oord et al.
2017, section 4.3: each code is mapped to its most frequent phone on one split, and scored on another. On the same
frames there are `phone_purity`, `cluster_purity`, `pnmi` and `v_measure`; of the codes alone `perplexity` and
`bit_rate`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Counts = NDArray[np.int64]


def contingency(phones: ArrayLike, codes: ArrayLike, n_phones: int, n_codes: int) -> Counts:
    """Count how often each phone occurs with each code.

    Parameters
    ----------
    phones : array_like of int, shape (frames,)
        Phone of each frame, in [0, n_phones).
    codes : array_like of int, shape (frames,)
        Code of each frame, in [0, n_codes).
    n_phones, n_codes : int
        Sizes of the two sets.

    Returns
    -------
    ndarray of int64, shape (n_phones, n_codes)
        All zero for no frames.

    Raises
    ------
    ValueError
        When the two differ in length or a value is out of range.
    """
    rows, columns = _indices(phones, n_phones, "phones"), _indices(codes, n_codes, "codes")
    if rows.shape != columns.shape:
        raise ValueError(f"{rows.size} phones against {columns.size} codes; one each a frame")
    cells = np.bincount(rows * n_codes + columns, minlength=n_phones * n_codes)
    return cells.reshape(n_phones, n_codes).astype(np.int64)


def map_codes(counts: ArrayLike) -> NDArray[np.int64]:
    """Map each code to its most frequent phone, ``argmax_i n(i, j)``.

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts of the split the mapping is fitted on.

    Returns
    -------
    ndarray of int64, shape (n_codes,)
        A phone per code. A code never seen gets the most frequent phone of the split; of tied phones the first is
        taken; without any frame every code gets phone 0.
    """
    table = _counts(counts)
    majority = table.sum(axis=1).argmax()
    return np.where(table.any(axis=0), table.argmax(axis=0), majority).astype(np.int64)


def majority_share(phones: ArrayLike) -> float:
    """Map accuracy by chance: the share of the most frequent of `phones`, (frames,); in (0, 1], nan for no frames."""
    values = np.asarray(phones)
    if not values.size:
        return float("nan")
    return float(np.unique(values, return_counts=True)[1].max() / values.size)


def shuffle_within(
    sequences: Sequence[NDArray[np.int64]], rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Return codes shuffled in time within each utterance, the control for every score.

    The counts of codes per utterance are kept, and with them all information about speaker and recording; information
    about the moment is removed.

    Parameters
    ----------
    sequences : sequence of ndarray of int64, each of shape (frames,)
        Codes of each utterance; not modified.
    rng : numpy.random.Generator
        Random generator.

    Returns
    -------
    list of ndarray of int64
        Shuffled copies.
    """
    return [rng.permutation(sequence) for sequence in sequences]


def phone_purity(counts: ArrayLike) -> float:
    """Share of frames that have the most frequent phone of their code.

    Formula: ``sum_j max_i p(i, j)``. It is the map accuracy fitted and scored on the same frames,
    so it flatters large codebooks: with one code a frame it is 1.

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts.

    Returns
    -------
    float
        In (0, 1]; nan for no frames.
    """
    table = _counts(counts)
    return _ratio(table.max(axis=0).sum().item(), table.sum().item())


def cluster_purity(counts: ArrayLike) -> float:
    """Share of frames that have the most frequent code of their phone.

    Formula: ``sum_i max_j p(i, j)``. With a single code it is 1.

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts.

    Returns
    -------
    float
        In (0, 1]; nan for no frames.
    """
    table = _counts(counts)
    return _ratio(table.max(axis=1).sum().item(), table.sum().item())


def entropy(counts: ArrayLike) -> float:
    """Entropy of a distribution given by counts, ``-sum p log2 p`` over the non-zero ones.

    Parameters
    ----------
    counts : array_like of int, any shape
        How often each event was seen.

    Returns
    -------
    float
        Bits, at least 0; nan when nothing was counted.
    """
    from scipy.special import entr

    flat = _counts(counts).ravel()
    total = flat.sum()
    if not total:
        return float("nan")
    # One event alone sums to -0.0.
    return max(0.0, float(entr(flat / total).sum() / np.log(2)))


def mutual_information(counts: ArrayLike) -> float:
    """Mutual information of phone and code.

    Formula: ``H(phone) + H(code) - H(phone, code)``.

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts.

    Returns
    -------
    float
        Bits, at least 0; nan for no frames. Biased upwards for few frames, even for independent codes: compare it with
        a shuffled control.
    """
    table = _counts(counts)
    apart = entropy(table.sum(axis=1)) + entropy(table.sum(axis=0))
    return float(np.maximum(0.0, apart - entropy(table)))


def pnmi(counts: ArrayLike) -> float:
    """Phone-normalised mutual information, ``I(phone; code) / H(phone)``.

    The share of the phone's entropy that the code removes (Hsu et al. 2021, HuBERT, section IV-D).

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts.

    Returns
    -------
    float
        In [0, 1]; nan for no frames or a single phone.
    """
    table = _counts(counts)
    return _ratio(mutual_information(table), entropy(table.sum(axis=1)))


def v_measure(counts: ArrayLike) -> float:
    """Harmonic mean of homogeneity ``I / H(phone)`` and completeness ``I / H(code)``.

    After Rosenberg and Hirschberg 2007, with their convention that a side without entropy is 1.

    Parameters
    ----------
    counts : array_like of int, shape (n_phones, n_codes)
        Joint counts.

    Returns
    -------
    float
        In [0, 1]; 0 for one code against several phones, 1 for one against one; nan for no frames.
    """
    table = _counts(counts)
    if not table.any():
        return float("nan")
    information = mutual_information(table)
    h_phone, h_code = entropy(table.sum(axis=1)), entropy(table.sum(axis=0))
    homogeneity = information / h_phone if h_phone else 1.0
    completeness = information / h_code if h_code else 1.0
    if homogeneity + completeness == 0:
        return 0.0
    return 2 * homogeneity * completeness / (homogeneity + completeness)


def perplexity(code_counts: ArrayLike) -> float:
    """Effective number of codes, ``2 ** H(code)``.

    Parameters
    ----------
    code_counts : array_like of int, shape (n_codes,)
        How often each code was seen, over a whole split.

    Returns
    -------
    float
        In [1, used codes]; nan when nothing was counted.
    """
    return float(2 ** entropy(code_counts))


def bit_rate(code_counts: ArrayLike, duration_s: float) -> float:
    """Bit rate of ZeroSpeech 2019, ``symbols / seconds * H(code)``.

    Parameters
    ----------
    code_counts : array_like of int, shape (n_codes,)
        How often each code was sent.
    duration_s : float
        Seconds of speech they stand for.

    Returns
    -------
    float
        Bits per second; nan when nothing was counted or the duration is 0.
    """
    return _ratio(_counts(code_counts).sum() * entropy(code_counts), duration_s)


def collapse_runs(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keep the first code of each run of equal codes of an utterance, (frames,) -> (runs,)."""
    return codes[np.concatenate(([True], codes[1:] != codes[:-1]))] if codes.size else codes


def _indices(values: ArrayLike, size: int, name: str) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} have shape {array.shape}, expected (frames,)")
    if not array.size:
        return array.astype(np.int64)
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} are {array.dtype}, expected integers")
    if array.min() < 0 or array.max() >= size:
        raise ValueError(f"{name} run from {array.min()} to {array.max()}, expected [0, {size})")
    return array.astype(np.int64)


def _counts(counts: ArrayLike) -> Counts:
    table = np.asarray(counts)
    if table.size and (not np.issubdtype(table.dtype, np.integer) or table.min() < 0):
        raise ValueError("counts are negative or not integers")
    return table.astype(np.int64)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")
