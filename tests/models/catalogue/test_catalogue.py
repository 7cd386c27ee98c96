"""Search by blocks is one matrix product, an index finds nearly the same, and damaged files are named."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from stages.base.errors import InputError
from stages.models.catalogue import Rows, Vectors, build_index, drawn, write_rows, write_vectors
from stages.models.catalogue.exact import best_by_blocks

WIDTH, KINDS = 16, 40
RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(KINDS, WIDTH))


def made(number: int, seed: int = 1) -> np.ndarray:
    """Make unit vectors in clusters."""
    rng = np.random.default_rng(seed)
    vectors = CENTRES[rng.integers(KINDS, size=number)] + 0.5 * rng.normal(size=(number, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def written(path: Path, recall: float = 0.98) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_vectors(path, made(4000))
    build_index(path, made(100, seed=2), recall)
    return path


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("catalogue") / "items.npy")


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_find_what_one_product_finds(block):
    vectors, queries = made(300), made(5, seed=3)
    vectors[200] = vectors[13]  # of equals the first
    without = [np.array([], np.int64), np.array([13, 299]), np.arange(100, 300), np.arange(296), np.arange(300)]
    scores, places = best_by_blocks(vectors, queries, 8, without, block)
    for query, left_out, found, at in zip(queries, without, scores, places, strict=True):
        product = vectors @ query
        product[left_out] = -np.inf
        order = np.argsort(-product, kind="stable")[:8]
        order = order[np.isfinite(product[order])]
        assert at.tolist() == [*order, *[-1] * (8 - len(order))]
        np.testing.assert_allclose(found[: len(order)], product[order], rtol=1e-5)
        assert np.isneginf(found[len(order) :]).all()
    assert (best_by_blocks(vectors, queries, 8, block=block)[1][0] == places[0]).all()


def test_equal_vectors_stand_in_their_order_whatever_the_blocks():
    vectors = np.ones((50, 3), np.float32)
    for block in (1, 8, 64):
        assert best_by_blocks(vectors, vectors[:1], 5, [np.array([1])], block)[1].tolist() == [[0, 2, 3, 4, 5]]


def test_an_index_finds_nearly_what_exact_search_finds_with_its_scores(indexed):
    vectors, queries = Vectors.open(indexed), made(200, seed=4)
    assert vectors.index is not None
    scores, places = vectors.best(queries, 10)
    exact_scores, exact = best_by_blocks(made(4000), queries, 10)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(exact, places, strict=True)]) > 0.95
    np.testing.assert_allclose(scores, (made(4000)[places] * queries[:, None]).sum(-1), rtol=1e-5)
    same = (places == exact).all(1)
    assert same.mean() > 0.6
    np.testing.assert_allclose(scores[same], exact_scores[same], rtol=1e-5)


def test_recall_is_reached_and_told(indexed, tmp_path):
    fewer, most = (
        json.loads(written(tmp_path / "a" / f"{recall}.npy", recall).with_suffix(".index.json").read_text())
        for recall in (0.5, 1.0)
    )
    usual = json.loads(indexed.with_suffix(".index.json").read_text())
    assert 0.5 <= fewer["recall_at_10"] <= 0.98 <= usual["recall_at_10"] <= most["recall_at_10"] == 1.0
    assert fewer["probes"] < usual["probes"] <= most["probes"] <= most["lists"] == 126


def test_what_is_left_out_is_not_found_and_few_lists_are_no_reason_to_find_less(indexed):
    vectors, query = Vectors.open(indexed), made(1, seed=5)
    near = vectors.best(query, 2000)[1][0]
    assert len(set(near.tolist())) == 2000 and near.min() >= 0
    for left_out in (near[:5], near, np.delete(np.arange(4000), [7, 9])):
        found = vectors.best(query, 10, [left_out])[1][0]
        wanted = best_by_blocks(made(4000), query, 10, [left_out])[1][0]
        assert not set(found.tolist()) & set(left_out.tolist())
        assert (found >= 0).sum() == (wanted >= 0).sum() >= len(set(found.tolist()) & set(wanted.tolist())) - 1
    assert sorted(found.tolist()) == [-1] * 8 + [7, 9]


def test_the_same_vectors_give_the_same_bytes(indexed, tmp_path):
    again = written(tmp_path / "items.npy")
    for suffix in (".npy", ".faiss", ".index.json"):
        assert again.with_suffix(suffix).read_bytes() == indexed.with_suffix(suffix).read_bytes()


def test_who_asks_for_recall_is_drawn_once_for_all():
    assert drawn(5).tolist() == [0, 1, 2, 3, 4]
    assert len(drawn(10_000)) == 200 and (drawn(10_000) == drawn(10_000)).all()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("suffix", "damage", "message"),
    [
        (".faiss", flip, "items.faiss is not what was built; fetch the version again"),
        (".faiss", cut, "items.faiss is not what was built"),
        (".faiss", Path.unlink, "items.faiss is missing"),
        (".index.json", Path.unlink, "items.index.json is missing"),
        (".index.json", cut, "items.index.json is damaged"),
        (".npy", cut, "items.npy is missing or damaged"),
        (".npy", Path.unlink, "items.npy is missing or damaged"),
        (
            ".npy",
            lambda path: np.save(path, np.array([{}], object)),
            "items.npy is missing or damaged .Array can't be ",
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path, suffix, damage, message):
    path = written(tmp_path / "items.npy")
    damage(path.with_suffix(suffix))
    with pytest.raises(InputError, match=message):
        Vectors.open(path)


def test_rows_are_read_by_number_and_found_by_value(tmp_path):
    table = pa.table({"id": [f"i{i:03}" for i in range(700)], "image": [bytes([i % 256]) * 9 for i in range(700)]})
    write_rows(tmp_path / "rows.arrow", table.to_batches(256))
    rows = Rows(tmp_path / "rows.arrow")
    assert len(rows) == 700 and rows.first("id", 2) == ["i000", "i001"]
    assert rows[515] == {"id": "i515", "image": bytes([3]) * 9}
    assert (rows.find("id", "i600"), rows.find("id", "none")) == (600, -1)
    cut(tmp_path / "rows.arrow")
    with pytest.raises(InputError, match="rows.arrow is missing or damaged"):
        Rows(tmp_path / "rows.arrow")
