"""Rows go to Parquet in row groups and files of bounded size."""

import pyarrow.parquet as pq

from stages.samples import writer as writing
from stages.samples.schema import samples_schema
from stages.samples.writer import SplitWriter

CAPTIONED = samples_schema(("image", "texts"))


def test_a_split_goes_on_in_a_next_file_when_one_is_full(monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "ROW_GROUP_ROWS", 2)
    writer = SplitWriter(tmp_path, "val", CAPTIONED, shard_bytes=50)
    row = {"image": bytes(19), "texts": ["x"], "tokens": ["x"]}  # 20 bytes
    for number in range(9):
        writer.add({"sample_id": str(number), **row})
    writer.close()
    files = sorted(tmp_path.glob("*.parquet"))
    assert [(path.name, pq.read_metadata(path).num_rows) for path in files] == [
        ("val-00000.parquet", 4),
        ("val-00001.parquet", 4),
        ("val-00002.parquet", 1),
    ]
    assert [row["sample_id"] for path in files for row in pq.read_table(path).to_pylist()] == list("012345678")
    assert (writer.num_rows, writer.num_shards) == (9, 3)
    assert pq.read_metadata(files[0]).num_row_groups == 2


def test_large_rows_make_small_row_groups(tmp_path):
    writer = SplitWriter(tmp_path, "val", CAPTIONED, shard_bytes=2**30)
    row = {"image": bytes(3 * 2**20), "texts": ["x"], "tokens": ["x"]}
    for number in range(4):
        writer.add({"sample_id": str(number), **row})
    writer.close()
    metadata = pq.read_metadata(tmp_path / "val-00000.parquet")
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [3, 1]


def test_a_split_without_rows_has_no_file(tmp_path):
    SplitWriter(tmp_path, "val", CAPTIONED, shard_bytes=50).close()
    assert list(tmp_path.iterdir()) == []
