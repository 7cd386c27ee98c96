"""Which frames of a video counted for an answer, for the page of samples."""

from typing import Any

from stages.base.store import data_url
from stages.media.video import small_frames

MOST = 12  # frames shown; of more, the ones that counted most
LEAST = 0.05  # a fall of probability that fills a bar, if none is larger


def frames_that_counted(details: dict[str, Any], video: bytes | None) -> list[dict[str, Any]]:
    """Return the frames that counted most, in order of time: each in small, and how much less probable the answer is.

    `details` is what a task tells of an answer: `frames`, by how much its probability falls without each, and
    `frame_seconds` from one to the next.
    """
    falls = details.get("frames")
    if not falls or not video:
        return []
    most = max(LEAST, *map(abs, falls))
    places = sorted(sorted(range(len(falls)), key=lambda place: -abs(falls[place]))[:MOST])
    seconds = details["frame_seconds"]
    shown = small_frames(video, 1 / seconds, places)
    return [
        {
            "picture": data_url(picture),
            "fall": falls[place],
            "width": round(100 * abs(falls[place]) / most),
            "says": f"{place * seconds:.1f} s: without it the probability "
            f"{'rises' if falls[place] < 0 else 'falls'} by {abs(falls[place]):.2f}",
        }
        for place, picture in shown.items()
    ]
