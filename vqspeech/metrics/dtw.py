"""Dynamic time warping of many short sequences at once, compiled by numba at its first call.

Importing this module imports numba, which takes a second: import it where distances are needed. Compiled code is cached
beside the module or in the user's cache.
"""

import numpy as np
from numba import njit  # type: ignore[import-untyped,unused-ignore]
from numpy.typing import NDArray


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator,unused-ignore]
def warped_distances(
    cost: NDArray[np.float64], row_bounds: NDArray[np.int64], column_bounds: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Warp each row sequence onto each column sequence and average the cost along the path.

    A path runs from the first pair of frames to the last in steps of (1, 1), (1, 0) and (0, 1). The
    one with the least summed cost is taken, of several the shortest, and its cost is divided by the
    number of its cells (the convention of ZeroSpeech and Libri-Light).

    Parameters
    ----------
    cost : ndarray of float64, shape (row frames, column frames)
        Distance of each frame of the row sequences, end to end, to each of the column sequences.
    row_bounds, column_bounds : ndarray of int64, shape (sequences + 1,)
        Where each sequence starts in `cost` and, last, where all end; no sequence is empty.

    Returns
    -------
    ndarray of float64, shape (row sequences, column sequences)
        Between the least and the greatest cost; the same with rows and columns exchanged.
    """
    rows, columns = len(row_bounds) - 1, len(column_bounds) - 1
    distances = np.empty((rows, columns))
    longest = 0
    for column in range(columns):
        longest = max(longest, column_bounds[column + 1] - column_bounds[column])
    total, cells = np.empty(longest), np.empty(longest)
    for row in range(rows):
        top, bottom = row_bounds[row], row_bounds[row + 1]
        for column in range(columns):
            left, width = column_bounds[column], column_bounds[column + 1] - column_bounds[column]
            total[0], cells[0] = cost[top, left], 1.0
            for j in range(1, width):
                total[j], cells[j] = total[j - 1] + cost[top, left + j], j + 1.0
            for i in range(top + 1, bottom):
                diagonal, diagonal_cells = total[0], cells[0]
                total[0], cells[0] = diagonal + cost[i, left], diagonal_cells + 1.0
                for j in range(1, width):
                    # total[j] and cells[j] are still those of the frame before.
                    best, best_cells = diagonal, diagonal_cells
                    diagonal, diagonal_cells = total[j], cells[j]
                    if (diagonal, diagonal_cells) < (best, best_cells):
                        best, best_cells = diagonal, diagonal_cells
                    if (total[j - 1], cells[j - 1]) < (best, best_cells):
                        best, best_cells = total[j - 1], cells[j - 1]
                    total[j], cells[j] = best + cost[i, left + j], best_cells + 1.0
            distances[row, column] = total[width - 1] / cells[width - 1]
    return distances
