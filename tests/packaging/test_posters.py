"""Items as people look at them: small, whatever their media are, and found again by their ids."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from stages.base.store import artifact_path
from stages.packaging.posters import KEPT_BYTES, MOST_CHARS, MOST_SECONDS, SIDE_PX, Posters, write_posters
from tests.support.small_data import encode, make_image, sound
from tests.support.videos import video

SMALL = encode(make_image(size=(32, 32)), "PNG")
ITEMS = {
    "large": {"image": encode(make_image(size=(900, 1200)))},
    "small": {"image": SMALL},
    "film": {"video": video()},
    "both": {"image": SMALL, "video": video()},
    "short": {"audio": sound(0.5)},
    "long": {"audio": sound(MOST_SECONDS + 2)},
    "told": {"texts": ["few words", "and more"]},
    "told at length": {"texts": ["word " * 200]},
    "a/b, c": {},
}


def write(held_out: int = 3) -> None:
    """Write the items as prepared samples of two splits."""
    folder = artifact_path("prepare", "shop")
    folder.mkdir(parents=True)
    names = ("image", "audio", "video", "texts")
    rows = [{"sample_id": name} | dict.fromkeys(names) | item for name, item in ITEMS.items()]
    for split, found in (("train", rows[held_out:]), ("test", rows[:held_out])):
        schema = pa.schema(
            {"sample_id": pa.string(), **dict.fromkeys(names[:3], pa.binary()), "texts": pa.list_(pa.string())}
        )
        pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / f"{split}-00000.parquet")


def made(tmp_path, monkeypatch, **more: int) -> Posters:
    monkeypatch.chdir(tmp_path)
    write()
    write_posters("shop", tmp_path / "posters.arrow", **more)
    return Posters(tmp_path / "posters.arrow")


def test_each_item_looks_as_its_media_let_it(tmp_path, monkeypatch):
    posters = made(tmp_path, monkeypatch)
    assert {name: posters.of(name)[0] for name in ITEMS} == {
        **dict.fromkeys(("large", "small", "film", "both"), ["image"]),
        **dict.fromkeys(("short", "long"), ["audio"]),
        **dict.fromkeys(("told", "told at length", "a/b, c"), []),
    }
    large, film = (Image.open(io.BytesIO(posters.medium(name, "image"))) for name in ("large", "film"))
    assert large.size == (SIDE_PX * 3 // 4, SIDE_PX) and len(posters.medium("large", "image")) < KEPT_BYTES
    assert (
        film.format == "JPEG" and 60 < film.convert("L").getpixel((40, 28)) < 160
    )  # from its middle, not black, not white
    assert posters.medium("small", "image") == posters.medium("both", "image") == SMALL
    assert posters.medium("short", "audio") == ITEMS["short"]["audio"]
    assert soundfile.info(io.BytesIO(posters.medium("long", "audio"))).duration == MOST_SECONDS
    assert posters.of("told")[1] == "few words"
    assert len(posters.of("told at length")[1]) <= MOST_CHARS + 1 and posters.of("told at length")[1].endswith("word…")
    assert posters.of("nobody") == ([], "") and posters.medium("nobody", "image") is None
    assert posters.medium("large", "text") is None


def test_past_the_bound_items_have_their_text_alone_and_that_is_said(tmp_path, monkeypatch, capsys):
    posters = made(tmp_path, monkeypatch, most_bytes=1)
    with_media = [name for name in ITEMS if posters.of(name)[0]]
    assert with_media == ["both"]  # the first of training that has any
    assert posters.of("told")[1] == "few words"
    assert "shop: 8 items have no picture or sound" in capsys.readouterr().out
