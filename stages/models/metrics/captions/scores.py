"""All caption metrics of a corpus at once, by name."""

from stages.models.metrics import Predictions, References
from stages.models.metrics.captions.bleu import bleu
from stages.models.metrics.captions.cider import cider_d
from stages.models.metrics.captions.meteor import meteor
from stages.models.metrics.captions.rouge import rouge_l


def caption_metrics(predictions: Predictions, references: References) -> dict[str, float]:
    """Score tokenised captions.

    Returns:
        Fractions `bleu_1` to `bleu_4`, `rouge_l`, `meteor` (only where WordNet is installed) and
        `distinct_captions` (different predictions over samples), `cider_d` on its scale of 0 to 10, and
        `mean_length` of the predictions in tokens.

    Raises:
        ValueError: The corpus cannot be scored; see `check_corpus`.

    Example:
        >>> captions = ["a dog runs fast".split(), "two cats sleep on it".split()]
        >>> scores = caption_metrics(captions, [[caption] for caption in captions])
        >>> scores["bleu_4"], scores["rouge_l"], round(scores["cider_d"], 4), scores["mean_length"]
        (1.0, 1.0, 10.0, 4.5)
    """
    scores = {f"bleu_{order}": score for order, score in enumerate(bleu(predictions, references), start=1)}
    scores["rouge_l"] = rouge_l(predictions, references)
    scores["cider_d"] = cider_d(predictions, references)
    meteor_or_none = meteor(predictions, references)
    if meteor_or_none is not None:
        scores["meteor"] = meteor_or_none
    scores["distinct_captions"] = len({tuple(prediction) for prediction in predictions}) / len(predictions)
    scores["mean_length"] = sum(len(prediction) for prediction in predictions) / len(predictions)
    return scores
