"""Which captions fit which samples by the truth: what retrieval by who knows the truth can reach.

Shapes: S samples, C captions.
"""

from collections.abc import Sequence

import numpy as np

from stages.base.lexicon import Lexicon
from stages.models.metrics.statements import Looks, Reader, Reading
from stages.models.metrics.truth import Judge, Truth


def misfits(lexicon: Lexicon, captions: Sequence[Sequence[str]], truths: Sequence[Truth]) -> np.ndarray:
    """Return how badly each caption, given as tokens, fits each sample, shape (S, C): the least is the best.

    Infinite where it states something false. Else the number of objects that it does not name and, below one, the share
    of samples that it fits: of two captions that leave as much out, the more specific one comes first.
    """
    reader, judges = Reader(lexicon), [Judge(lexicon, truth) for truth in truths]
    left_out_SC = np.full((len(truths), len(captions)), np.inf)
    having: dict[Looks, set[int]] = {}  # the samples with such an object
    columns: dict[tuple[object, ...], np.ndarray] = {}  # of captions that say the same
    for c, words in enumerate(captions):
        reading = reader.read(words)
        for looks in {mention.looks for mention in reading.mentions} - having.keys():
            having[looks] = {i for i, judge in enumerate(judges) if judge.fit(looks)}
        key = tuple(m.looks for m in reading.mentions), tuple((x.kind, x.value, x.one, x.other) for x in reading.claims)
        if key not in columns:
            likely = set(range(len(judges))).intersection(*(having[mention.looks] for mention in reading.mentions))
            columns[key] = np.full(len(judges), np.inf)
            columns[key][list(likely)] = [_left_out(judges[i], reading) for i in likely]
        left_out_SC[:, c] = columns[key]
    return left_out_SC + np.isfinite(left_out_SC).sum(0) / (len(truths) + 1)


def _left_out(judge: Judge, reading: Reading) -> float:
    """Return how many objects a caption leaves out, infinity where it states something false."""
    found = judge.judge(reading, 0)
    return np.inf if found.has_false else found.objects - len(reading.mentions)
