"""Batched beam search with kept keys and values, against one image at a time that reads each prefix anew.

Both decode the same test images with the same trained model and beam; that they give the same captions is checked.

Run: `python -m benchmarks.beam_search caption`, after that experiment was trained
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.captioner import open_captioner, run
from benchmarks.timing import CONSOLE, show, show_machine, take_turns
from stages.base.errors import InputError
from stages.media.text import END, PAD, START, UNKNOWN
from stages.models.heads.base import CaptionDecoder
from stages.models.heads.search import Search, search
from stages.params import CaptionParams, EvaluateParams, Params
from stages.params.cli import main

Hypothesis = tuple[list[int], float]


@torch.inference_mode()
def search_one(decoder: CaptionDecoder, grid_1LD: Tensor, evaluate: EvaluateParams, max_words: int) -> list[int]:
    """Search for one image: at each word all unfinished hypotheses pass the whole decoder again, as one batch."""

    def score(hypothesis: Hypothesis) -> float:
        words, total = hypothesis
        return total / len(words) ** evaluate.length_penalty

    hypotheses: list[Hypothesis] = [([], 0.0)]
    for place in range(max_words + 1):
        open_ones = [h for h in hypotheses if h[0][-1:] != [END]]
        if not open_ones:
            break
        prefixes_1KT = torch.tensor([[[START, *words] for words, _ in open_ones]], device=grid_1LD.device)
        hidden = decoder(grid_1LD, prefixes_1KT, torch.ones_like(prefixes_1KT, dtype=torch.bool))
        logits_KV = decoder.logits(hidden.view(len(open_ones), place + 1, -1)[:, -1]).float()
        logits_KV[:, [PAD, START, UNKNOWN]] = -torch.inf
        log_probs_KV = logits_KV.log_softmax(-1)
        grown: list[Hypothesis] = [h for h in hypotheses if h[0][-1:] == [END]]
        if place == max_words:
            grown += [([*w, END], t + row[END].item()) for (w, t), row in zip(open_ones, log_probs_KV, strict=True)]
        else:
            best = log_probs_KV.topk(evaluate.beam_size)
            for (words, total), values, ids in zip(open_ones, best.values.tolist(), best.indices.tolist(), strict=True):
                grown += [([*words, i], total + value) for value, i in zip(values, ids, strict=True)]
        hypotheses = sorted(grown, key=score, reverse=True)[: evaluate.beam_size]
    return hypotheses[0][0][:-1]


def measure(params: Params, name: str, num_images: int, rounds: int) -> None:
    """Measure one experiment of params.yaml."""
    task, test, device = open_captioner(params, name)
    experiment, evaluate = task.config.experiment, params.evaluate
    assert isinstance(experiment, CaptionParams)
    if not isinstance(task.decoder, CaptionDecoder):
        raise InputError(f"{name}: the baseline reads prefixes anew, which is not written for a language model as head")
    decoder = task.decoder
    rows = torch.arange(min(num_images, len(test))).numpy()
    with torch.inference_mode():
        grid_BLD = task.memory(task.encode(next(test.batches([(rows, test.every(rows))])))).float()

    def batched() -> list[list[int]]:
        chunks = grid_BLD.split(evaluate.batch_size)
        found = [search(decoder, grid, Search.of(evaluate, experiment.max_words)) for grid in chunks]
        return [caption.ids for captions in found for caption in captions]

    def one_by_one() -> list[list[int]]:
        return [search_one(decoder, grid_1LD, evaluate, experiment.max_words) for grid_1LD in grid_BLD.split(1)]

    show_machine(device)
    timings = take_turns({"beam search": batched, "one image, no cache": one_by_one}, rounds)
    show(f"{experiment.head}, beam of {evaluate.beam_size}, {len(rows)} images", timings, (len(rows), "image"))
    same = sum(mine == theirs for mine, theirs in zip(batched(), one_by_one(), strict=True))
    CONSOLE.print(f"equal captions: {same} of {len(rows)}")


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    run("beam_search", __doc__, 500, measure, argv)


if __name__ == "__main__":
    main(command)
