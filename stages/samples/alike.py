"""Images that are nearly equal: the same picture stored anew in another format, quality or size."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from stages.media.images import to_square
from stages.samples.media import PAIRS_NAMED
from stages.samples.overview import prepared_rows

SIDE_PX = 16
NEAR = 4.0  # of 255: root mean square between two thumbnails; photos stored anew differ by less than 1
MOST_IMAGES = 20_000  # every pair is compared
BLOCK = 1024


def near_equal_images(prepared: Path) -> Iterator[str]:
    """Yield lines about images of a prepared data set that differ by less than `NEAR`, but not by nothing."""
    rows = ((row, split) for row, split in prepared_rows(prepared) if row.get("image"))
    names, thumbnails = [], []
    for row, split in islice(rows, MOST_IMAGES):
        names.append((row["sample_id"], split))
        thumbnails.append(to_square(row["image"], SIDE_PX).reshape(-1))
    if not names:
        return
    pairs = list(near_pairs(np.array(thumbnails, np.float32)))
    across = [(i, j) for i, j in pairs if names[i][1] != names[j][1]]
    compared = f"of the first {MOST_IMAGES}" if next(rows, None) else f"of {len(names)}"
    yield f"nearly equal images (stored anew, another size): {len(pairs)} pairs {compared}"
    if across:
        told = [" ~ ".join(f"{name} ({split})" for name, split in (names[i], names[j])) for i, j in across]
        yield f"! {len(across)} of these pairs stand on two splits: {'; '.join(told[:PAIRS_NAMED])}"


def near_pairs(x_ND: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield pairs of rows whose root mean square difference is above 0 and below `NEAR`."""
    squares_N = (x_ND**2).mean(1)
    for start in range(0, len(x_ND), BLOCK):
        block_BD = x_ND[start : start + BLOCK]
        distance_BN = squares_N[start : start + BLOCK, None] + squares_N - 2 / x_ND.shape[1] * (block_BD @ x_ND.T)
        for i, j in np.argwhere(distance_BN < NEAR**2).tolist():
            if start + i < j and (block_BD[i] != x_ND[j]).any():
                yield start + i, j
