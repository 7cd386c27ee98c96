"""A user's own table: messy files are read, columns are guessed, and each row that cannot be used is named."""

import io
import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.params import TableParams
from stages.sources.base import Fault, Question, RawSample
from stages.sources.table import MEDIA, READING, ROLES, Table, media
from stages.sources.table.columns import resolve
from stages.sources.table.layout import encoding
from stages.sources.table.rows import Row, column_names, read_rows
from tests.support.small_data import encode, make_image
from tests.support.small_data import sound as wav
from tests.support.videos import video

IMAGE = encode(make_image(1))
HOME = Path("data/mine")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty project as the current folder."""
    monkeypatch.chdir(tmp_path)
    HOME.mkdir(parents=True)
    Path("raw").mkdir()


def source(table: str = "table.csv", columns: dict[str, str] | None = None, **changes) -> Table:
    section = {"source": "table", "folder": "mine", "table": table, "split_by": "hash"}
    section |= {"columns": dict.fromkeys(ROLES, "auto") | (columns or {}), "val_fraction": 0.0, "test_fraction": 0.0}
    return Table(TableParams.model_validate(section | changes))


def put(names: list[str], data: bytes = IMAGE) -> None:
    for name in names:
        (HOME / name).parent.mkdir(parents=True, exist_ok=True)
        (HOME / name).write_bytes(data)


def read(text: str | bytes, **changes) -> list[RawSample | Fault]:
    """Write the table, run it through both stages and return what comes out."""
    own = source(**changes)
    (HOME / own.params.table).write_bytes(text.encode() if isinstance(text, str) else text)
    own.generate(Path("raw"), seed=1)
    return list(own.read(Path("raw")))


def samples(items: list[RawSample | Fault]) -> list[RawSample]:
    return [item for item in items if isinstance(item, RawSample)]


def guess(header: str, *rows: str) -> dict[str, str]:
    (HOME / "table.csv").write_text("\n".join([header, *rows]))
    found = list(read_rows(HOME / "table.csv"))
    names = column_names(HOME / "table.csv")
    return resolve(dict.fromkeys(ROLES, "auto"), names, found, partial(media.media_kind, HOME), "table.csv")


def test_a_messy_spreadsheet_is_read_whole(capsys):
    names = [f"fotos/bild {number}.png" for number in range(198)] + ["照片/红色 圆形.png", "fotos/ü.png"]
    missing = {"fotos/bild 17.png", "fotos/bild 100.png"}
    for number, name in enumerate(names):
        if name not in missing:
            put([name], encode(make_image(number, (8, 8)), "PNG"))
    rows = [f' {name} ; "{("rot", "blau")[i % 2]}" ;{i},5' for i, name in enumerate(names)]
    rows[40] = f"{names[40]};;1,5"
    text = "\ufeff Photo Path ; Label;Preis;\r\n" + "".join(f"{row};\r\n" for row in rows)
    items = read(text, val_fraction=0.1, test_fraction=0.1)
    found = samples(items)
    assert len(found) == len(items) == 200
    assert {sample.sample_id: sample.fault for sample in found if sample.fault} == {
        "row-00019": "table.csv: row 19: no file fotos/bild 17.png",
        "row-00102": "table.csv: row 102: no file fotos/bild 100.png",
    }
    assert Counter(sample.label for sample in found) == {"rot": 99, "blau": 100, None: 1}
    assert found[40].label is None
    assert found[198].image == (HOME / "照片/红色 圆形.png").read_bytes()
    assert {sample.split for sample in found} == {"train", "val", "test"}
    assert "image: Photo Path, audio: none" in capsys.readouterr().out


def test_the_same_table_gives_the_same_bytes():
    put(["b.png", "a.png"])
    read("image,label\nb.png,x\na.png,y\n")
    first = {path.name: path.read_bytes() for path in Path("raw").iterdir()}
    read("image,label\nb.png,x\na.png,y\n")
    assert {path.name: path.read_bytes() for path in Path("raw").iterdir()} == first
    assert sorted(first) == [MEDIA, READING, "table.csv"]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(mark):
    rows = [["id", "text", "label"], ["1", '"red, round; | big"', "a"], ["2", '"two\nlines"', "b"]]
    found = samples(read("\n".join(mark.join(row) for row in rows)))
    assert [sample.texts for sample in found] == [("red, round; | big",), ("two\nlines",)]
    assert [sample.label for sample in found] == ["a", "b"]


@pytest.mark.parametrize("name", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_the_encoding_is_found(name, capsys):
    text = "text,label\nein grüner Kreis,schön\n"
    (sample,) = samples(read(text.encode(name)))
    assert (sample.texts, sample.label) == (("ein grüner Kreis",), "schön")
    assert ("save it as CSV UTF-8" in capsys.readouterr().out) == (name == "cp1252")


def test_another_encoding_is_refused_with_what_to_do():
    with pytest.raises(InputError, match="neither UTF-8, UTF-16 nor Windows-1252: save the table as CSV UTF-8"):
        read(b"text,label\na\x81\x8d,b\n")


def test_a_letter_at_the_edge_of_a_chunk_is_read():
    (HOME / "table.csv").write_text("text\n" + "x" * ((1 << 20) - 6) + "ü\n")
    assert encoding(HOME / "table.csv") == "utf-8-sig"


def test_row_numbers_are_those_of_a_spreadsheet():
    text = 'text,label\n"two\nlines",a\n\n,,\nx,b\n'
    rows = (HOME / "table.csv").write_text(text) and list(read_rows(HOME / "table.csv"))
    assert [(row.number, row.cells["label"]) for row in rows if not row.fault] == [(2, "a"), (5, "b")]


def test_a_row_with_too_few_or_too_many_cells_is_named_and_the_others_are_kept():
    found = samples(read("text,label\na,x\nb\nc,y,z\nd,y,\n"))
    message = "table.csv: row {}: {} cells, the header has 2; is a quote left open or missing?"
    assert [sample.fault for sample in found] == [None, message.format(3, 1), message.format(4, 3), None]
    assert {sample.split for sample in found} == {"train"}


def test_texts_that_begin_with_a_quotation_mark_swallow_no_row(capsys):
    texts = ['"come in' if number in (10, 40) else "words" for number in range(90)]
    rows = [f"{number}\t{'xy'[number % 2]}\t{text}" for number, text in enumerate(texts)]
    found = samples(read("\n".join(["id\tlabel\ttext", *rows]), table="t.tsv"))
    assert [(sample.sample_id, sample.texts, sample.fault) for sample in found] == [
        (str(number), (text,), None) for number, text in enumerate(texts)
    ]
    assert "not closed in 2 lines (12, 42): taken as they stand; 90 rows, 0 of them empty" in capsys.readouterr().out


@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_quote_that_closes_rows_later_swallows_none_and_one_round_the_lines_of_a_text_holds_them(mark):
    lines = [["id", "label", "text"], ["1", "x", '"come in'], ["2", "y", "words"], ["3", "x", 'go out"']]
    found = samples(read("\n".join(map(mark.join, lines))))
    assert [sample.texts for sample in found] == [('"come in',), ("words",), ('go out"',)]
    lines = [["id", "label", "text"], ["1", "x", '"two, or'], ['three"'], ["2", "y", '"a,\tb"'], ["3", "y", '"open']]
    found = samples(read("\n".join(map(mark.join, lines))))
    assert [sample.texts for sample in found] == [("two, or\nthree",), ("a,\tb",), ('"open',)]


def test_what_is_guessed_wrongly_can_be_given(capsys):
    text = 'text,label\n"red, round\nblue, flat\ngreen, thin",a\n'
    assert samples(read(text, reading={"quoting": "quotes"}))[0].texts == ("red, round\nblue, flat\ngreen, thin",)
    assert samples(read('text,label\n"red",a\n', reading={"quoting": "none"}))[0].texts == ('"red"',)
    assert samples(read("text,x;label\na,1;b\n", reading={"delimiter": ";"}))[0].label == "b"
    chinese = "text,label\n红色的圆,好\n".encode("gb18030")
    found = samples(read(chinese, reading={"encoding": "gb18030"}))
    assert (found[0].texts, found[0].label) == (("红色的圆",), "好")
    assert "read as gb18030" in capsys.readouterr().out
    with pytest.raises(InputError, match="no text in utf-8.*\n    reading: {encoding: gb18030}"):
        read(chinese, reading={"encoding": "utf-8"})
    with pytest.raises(ValueError, match="auto or an encoding that Python knows"):
        source(reading={"encoding": "hex"})


def test_excels_first_line_says_the_delimiter():
    for text in ("sep=;\ntext;label\na,b;c\n", "\ufeffsep=\t\r\ntext\tlabel\r\na,b\tc\r\n"):
        (sample,) = samples(read(text))
        assert (sample.sample_id, sample.texts, sample.label) == ("row-00003", ("a,b",), "c")


def test_a_long_text_is_no_open_quote():
    long = "word, " * 30_000
    found = samples(read(f'text,label\n"{long}",a\nb,c\n'))
    assert [sample.texts for sample in found] == [(long.strip(),), ("b",)]


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "it is an Excel file .*: save the table as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "it is an old Excel file"),
        (b"PAR1\x15\x04", "it is a Parquet file: give it the ending .parquet"),
        (b"\x1f\x8b\x08", "it is compressed with gzip: unpack it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a Git LFS pointer.*`git lfs pull`"),
        (b"\r\n<!DOCTYPE html><html>", "it is a web page"),
    ],
)
@pytest.mark.parametrize("table", ["table.csv", "table.jsonl"])
def test_bytes_of_another_kind_are_named(head, kind, table):
    with pytest.raises(InputError, match=f"data/mine/{table}: {kind}"):
        read(head + bytes(range(256)) * 20, table=table)


def test_a_header_without_rows_is_refused():
    with pytest.raises(InputError, match=r"table.csv: a header \(image, label\) and no filled row"):
        read("image,label\n,\n\n")


def test_counts_of_rows_add_up():
    (HOME / "table.csv").write_text("id,caption\n7,a dog\n,\n8,a cat\n7,a pup\n9\n\n")
    counts = source().generate(Path("raw"), seed=1)
    assert counts == {"rows_read": 6, "rows_empty": 2, "rows_joined": 1}
    assert len(list(source().read(Path("raw")))) == 6 - 2 - 1


@pytest.mark.parametrize(
    "name", ["labels", "class_name", "className", "category_id", "Diagnosis", "Klasse", "标签", "ラベル"]
)
def test_labels_of_other_names_are_found(name):
    assert guess(f"file,{name}", "a.png,1", "b.png,2") == {"image": "file", "label": name}


def test_a_table_without_labels_says_which_columns_could_be_them(capsys):
    read("text,number,ripeness,all\n" + "".join(f"t{i},{i},{'ab'[i % 2]},1\n" for i in range(8)))
    said = capsys.readouterr().out
    assert "no column is the label (looked for label, class," in said
    assert (
        'with few values each: ripeness; to classify, change in params.yaml\n    columns: {label: "ripeness"}' in said
    )


def test_a_missing_header_is_told():
    with pytest.raises(InputError, match=r"row 1 \(p0.png, red\) looks like data.*: 'p0.png' is a file; write a line"):
        read("p0.png,red\np1.png,green\n")


def test_fractions_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="less than 1 together with val_fraction 0.5, as the rest is for training"):
        source(val_fraction=0.5, test_fraction=0.5)


@pytest.mark.parametrize(
    ("cell", "file", "way"),
    [
        ("p{}", "p{}.png", "without their ending"),
        ("data/mine/p{}.png", "p{}.png", "with the folder's own name in front"),
        ("mine/p{}.png", "p{}.png", "with the folder's own name in front"),
        ("P{}.PNG", "p{}.png", "in another case"),
        ("p{}.png", "images/p{}.png", "without their subfolder"),
        ("p{}", "images/p{}.JPG", "without subfolder and ending"),
    ],
)
def test_the_one_file_that_a_cell_can_mean_is_taken_and_said(cell, file, way, capsys):
    put([file.format(number) for number in range(4)])
    found = samples(read("id_code,diagnosis\n" + "".join(f"{cell.format(i)},{i % 2}\n" for i in range(4))))
    assert [(sample.image, sample.label, sample.fault) for sample in found] == [
        (IMAGE, str(i % 2), None) for i in range(4)
    ]
    assert f"4 files are named {way}: the one that fits is taken" in capsys.readouterr().out


def test_of_several_files_that_a_cell_can_mean_none_is_taken():
    put(["a/1.png", "b/1.png", "2.png"])
    first, second = samples(read("image\n1.png\n2.png\n"))
    assert first.fault == "table.csv: row 2: no file 1.png; 2 fit: a/1.png, b/1.png"
    assert second.image == IMAGE


def test_labels_and_ids_that_are_called_like_a_file_are_no_files():
    put(["1.png", "2.png", "red.png"])
    assert samples(read("id,image,label\n1,1.png,red\n2,2.png,red\n"))[0].sample_id == "1"
    assert samples(read("text,label\nx,red\ny,red\n"))[0].image is None


def test_a_git_lfs_pointer_is_no_image():
    put(["1.png"], b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (sample,) = samples(read("image\n1.png\n"))
    assert "row 2: 1.png is a Git LFS pointer, not the file: run `git lfs pull`" in sample.fault


@pytest.mark.parametrize("bare", [False, True])
def test_images_and_sounds_inside_parquet_are_read(bare):
    out, sound = io.BytesIO(), io.BytesIO()
    soundfile.write(sound, np.zeros(10), 8000, format="WAV")
    images = [IMAGE, encode(make_image(2), "PNG"), None]
    inside = (lambda data: data) if bare else (lambda data: data and {"bytes": data, "path": "x.png"})
    rows = [{"a": inside(data), "b": inside(sound.getvalue()), "label": i} for i, data in enumerate(images)]
    pq.write_table(pa.Table.from_pylist(rows), out)
    found = samples(read(out.getvalue(), table="t.parquet"))
    assert [(sample.image, sample.audio, sample.label, sample.fault) for sample in found] == [
        (data, sound.getvalue(), str(i), None) for i, data in enumerate(images)
    ]


def test_paths_inside_parquet_are_files():
    put(["1.png"])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"image": {"bytes": None, "path": "1.png"}}]), out)
    assert samples(read(out.getvalue(), table="t.parquet"))[0].image == IMAGE


def test_a_quote_left_open_in_a_long_table_swallows_no_row_and_says_where(capsys):
    found = samples(read('text,label\na,x\n"b,y\n' + "c,z\n" * 50_000))
    assert len(found) == 50_002
    assert (found[1].texts, found[1].label, found[1].fault) == (('"b',), "y", None)
    assert "quotes are letters; a quote opens and is not closed in 1 lines (3): taken as they stand" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(("text", "message"), [("", "it is empty"), ("a,b,a\n1,2,3\n", "two columns are called 'a'")])
def test_a_table_without_a_header_of_distinct_names_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_json_lines_are_read_and_bad_lines_are_named():
    lines = ['{"text": "a b", "label": 3}', "", '{"text": "c", "label": null, "more": [1]}', "{broken", "[1]", "{}"]
    found = samples(read("\n".join(lines), table="t.jsonl"))
    assert [(sample.sample_id, sample.texts, sample.label) for sample in found[:2]] == [
        ("row-00001", ("a b",), "3"),
        ("row-00003", ("c",), None),
    ]
    assert [sample.fault for sample in found[2:4]] == [
        "t.jsonl: row 4: expected one JSON object, found '{broken'",
        "t.jsonl: row 5: expected one JSON object, found '[1]'",
    ]


def test_a_used_column_with_something_else_than_text_or_numbers_is_a_fault():
    (sample,) = samples(read('{"text": ["a"], "label": "x"}', table="t.jsonl", columns={"text": "text"}))
    assert sample.fault == "t.jsonl: row 1: column text holds a list; expected text or a number"


def test_parquet_is_read():
    table = pa.table({"id": [7.0, 8.0], "text": ["a", "b"], "label": [True, None], "x": [b"1", b"2"]})
    out = io.BytesIO()
    pq.write_table(table, out)
    found = samples(read(out.getvalue(), table="t.parquet"))
    assert [(sample.sample_id, sample.texts, sample.label) for sample in found] == [
        ("7", ("a",), "true"),
        ("8", ("b",), None),
    ]
    with pytest.raises(InputError, match="no Parquet file"):
        read(b"PAR1", table="t.parquet")


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("File,Class", "a.jpg,cat", {"image": "File", "label": "Class"}),
        ("a,b,c", "x/y.PNG,z.wav,word", {"image": "a", "audio": "b"}),
        ("photo_url,product category", "http://h/p?id=1,shoe", {"image": "photo_url", "label": "product category"}),
        ("a", "https://h/p.jpeg?size=2", {"image": "a"}),
        ("thumb.nail,image", "t.jpg,i.jpg", {"image": "image"}),
        ("question_id,image,question,answer", "1,i.png,why?,so", None),
        ("userId,speaker_name,caption", "1,bob,a dog", {"group": "userId", "text": "caption"}),
        ("question type,answer,text", "a,b,c", {"text": "text"}),
        ("split,label", "dev,x", {"split": "split", "label": "label"}),
        ("split,label", "first,x", {"label": "label"}),
        ("x,Größe", "1,2", {}),
    ],
)
def test_columns_are_guessed_from_values_and_names(header, row, expected):
    if expected is None:
        expected = {"id": "question_id", "image": "image", "question": "question", "answer": "answer"}
    assert guess(header, row) == expected


def test_files_without_a_suffix_are_told_by_their_content():
    put(["one"])
    out = io.BytesIO()
    soundfile.write(out, np.zeros(10), 8000, format="WAV")
    put(["two"], out.getvalue())
    put(["three"], b"text")
    assert guess("a,b,c", "one,two,three") == {"image": "a", "audio": "b"}


def test_an_id_that_repeats_is_not_guessed_unless_its_rows_belong_together():
    assert guess("id,label", "1,x", "1,y") == {"label": "label"}
    assert guess("id,text", "1,x", "1,y") == {"id": "id", "text": "text"}


def test_the_printed_guess_is_what_params_take(capsys):
    put(["a.png"])
    read('"the: photo",Größe,kind\na.png,1,red\n')
    line = capsys.readouterr().out.split("columns: ")[1]
    columns = YAML(typ="safe").load(line)
    assert columns == dict.fromkeys([*ROLES, "fields"], "none") | {"image": "the: photo", "label": "kind"}
    (sample,) = samples(read('"the: photo",Größe,kind\na.png,1,red\n', columns=columns))
    assert (sample.image, sample.label) == (IMAGE, "red")
    assert "are guessed" not in capsys.readouterr().out


def test_given_columns_are_used_and_none_leaves_out():
    (sample,) = samples(read("a,b,label\nx,y,z\n", columns={"label": "a", "text": "b", "id": "none"}))
    assert (sample.label, sample.texts, sample.message) == ("x", ("y",), None)


def test_an_unknown_column_is_named_with_those_there_are():
    with pytest.raises(InputError, match=r"no column 'colour', given as columns.label; it has id, a b, kind"):
        read("id,a b,kind\n1,2,3\n", columns={"label": "colour"})


def test_questions_need_answers():
    with pytest.raises(InputError, match="columns.question and columns.answer go together; it has a, b"):
        read("a,b\n1,2\n", columns={"question": "a"})


def test_questions_about_one_image_are_one_sample():
    put(["1.png", "2.png"])
    items = read(
        "id,image,question,answer\n"
        "q1,1.png,What colour?,red\nq2,2.png,What shape?,round\nq3,1.png,Is it big?,no\nq4,1.png,Why?,\n"
    )
    assert items[0] == Fault("table.csv: row 5", "an answer is missing")
    assert [(sample.sample_id, sample.questions) for sample in samples(items)] == [
        ("q1", (Question("What colour?", "red"), Question("Is it big?", "no"))),
        ("q2", (Question("What shape?", "round"),)),
    ]


def test_captions_of_one_image_are_one_sample_and_labelled_rows_are_not():
    put(["1.png"])
    (sample,) = samples(read("image,caption\n1.png,a dog\n1.png,a black dog\n1.png,a dog\n"))
    assert sample.texts == ("a dog", "a black dog")
    (sample,) = samples(read("id,image,caption\n7,1.png,a dog\n8,1.png,a black dog\n"))
    assert (sample.sample_id, sample.texts) == ("7", ("a dog", "a black dog"))
    texts = [sample.texts for sample in samples(read("id,caption\n7,a dog\n8,a cat\n7,a pup\n"))]
    assert texts == [("a dog", "a pup"), ("a cat",)]
    labelled = samples(read("image,text,label\n1.png,how nice,kind\n1.png,how awful,rude\n"))
    assert [sample.label for sample in labelled] == ["kind", "rude"]


def test_empty_cells_are_missing_modalities():
    put(["1.png"])
    found = samples(read("id,image,text,label\n1,,a b,x\n,1.png,,\n"))
    assert found == [
        RawSample("1", "train", texts=("a b",), label="x"),
        RawSample("row-00003", "train", image=IMAGE),
    ]


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("../secret.png", "../secret.png leads out by '..'; allowed are paths below data/mine"),
        ("a/../../secret.png", "a/../../secret.png leads out by '..'; allowed are paths below data/mine"),
        ("..\\secret.png", "..\\secret.png leads out by '..'; allowed are paths below data/mine"),
        ("/etc/x.png", "/etc/x.png lies outside; allowed are paths below data/mine"),
        ("folder.png", "no file folder.png"),
        ("x" * 300 + ".png", "no file " + "x" * 300 + ".png"),
        ("a\0.png", "no file a\0.png"),
        ("ftp://host/a.png", "ftp://host/a.png is no http:// or https:// address"),
        ("file:///etc/passwd.png", "file:///etc/passwd.png is no http:// or https:// address"),
    ],
)
def test_what_lies_elsewhere_is_refused_by_row(cell, reason):
    put(["ok.png", "folder.png/x"])
    Path("data/secret.png").write_bytes(b"secret")
    bad, good = samples(read(json.dumps({"image": cell}) + '\n{"image": "ok.png"}', table="t.jsonl"))
    assert bad.fault == f"t.jsonl: row 1: {reason}"
    assert bad.image is None
    assert good.image == IMAGE


def test_other_ways_to_write_a_path_below_the_folder_are_understood():
    put(["é/a b.png"])  # composed
    cells = ["e\u0301/a b.png", "é\\a b.png", "./é/a b.png", str((HOME / "é/a b.png").absolute())]
    found = samples(read("image\n" + "\n".join(cells) + "\n"))
    assert [sample.image for sample in found] == [IMAGE] * 4


def test_a_file_too_large_is_a_fault(monkeypatch):
    monkeypatch.setattr(media, "OWN_FILE_BYTES", len(IMAGE))
    put(["1.png"])
    put(["2.png"], IMAGE + b"x")
    first, second = samples(read("image\n1.png\n2.png\n"))
    assert first.image == IMAGE
    assert second.fault.startswith(f"table.csv: row 3: 2.png has {len(IMAGE) + 1} bytes, allowed are")


class Site(BaseHTTPRequestHandler):
    """Gives an image at /good..., too much at /large..., and nothing elsewhere."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        content = {"/good": IMAGE, "/larg": b"x" * 100_000}.get(self.path[:5])
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *values: object) -> None:
        """Stay silent."""


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_addresses_are_fetched_once_within_the_bound(site, monkeypatch):
    monkeypatch.setattr(media, "OWN_FILE_BYTES", 50_000)
    text = f"image,label\n{site}/good.png?a=1,x\n{site}/gone.png,y\n{site}/large.png,z\n{site}/good.png?a=1,w\n"
    found = samples(read(text))
    assert [sample.image for sample in found] == [IMAGE, None, None, IMAGE]
    assert found[1].fault == f"table.csv: row 3: {site}/gone.png: HTTP 404 Not Found"
    assert found[2].fault.startswith(f"table.csv: row 4: {site}/large.png has too many bytes, allowed are")
    assert Site.asked.count("/good.png?a=1") == 1
    read(text)
    assert Site.asked.count("/good.png?a=1") == 1  # what came stays for the next run


def test_addresses_that_all_fail_are_given_up_early(site):
    rows = "".join(f"{site}/gone{number}.png\n" for number in range(200))
    with pytest.raises(InputError, match="none of the first 20 addresses gives a file; the last one: .*HTTP 404"):
        read(f"image\n{rows}")
    assert len(Site.asked) < 60


def test_splits_come_from_the_column_and_what_it_lacks_is_taken_from_train():
    words = ["Train"] * 60 + ["TEST"] * 5
    text = "id,label,set\n" + "".join(f"{i},x,{word}\n" for i, word in enumerate(words)) + "65,x,\n66,x,other\n"
    found = samples(read(text, split_by="column", columns={"split": "set"}, val_fraction=0.3, test_fraction=0.3))
    assert {sample.split for sample in found[:60]} == {"train", "val"}
    assert {sample.split for sample in found[60:65]} == {"test"}
    assert (found[65].split, found[65].fault) == (None, None)
    assert found[66].fault == "table.csv: row 68: split 'other'; expected train, val or test"


def test_a_group_stays_together_and_so_do_rows_of_one_file():
    text = "text,label,user\n" + "".join(f"t,x,u{number % 20}\n" for number in range(200)) + "t,x,\n"
    found = samples(read(text, split_by="group", val_fraction=0.3, test_fraction=0.3))
    by_group: dict[str, set] = {}
    for sample in found[:-1]:
        by_group.setdefault(sample.group, set()).add(sample.split)
    assert {len(splits) for splits in by_group.values()} == {1}
    assert {sample.split for sample in found[:-1]} == {"train", "val", "test"}
    assert found[-1].fault == "table.csv: row 202: no group, and split_by is group"
    for number in range(20):
        put([f"{number}.png"], encode(make_image(number, (8, 8)), "PNG"))
    text = "image,label\n" + "".join(f"{number % 20}.png,{number}\n" for number in range(60))
    found = samples(read(text, val_fraction=0.3, test_fraction=0.3))
    assert [sample.split for sample in found[:20]] == [sample.split for sample in found[20:40]]
    assert {sample.split for sample in found} == {"train", "val", "test"}


@pytest.mark.parametrize(("split_by", "role"), [("column", "split"), ("group", "group")])
def test_a_split_by_a_column_that_is_not_there_is_refused(split_by, role):
    with pytest.raises(InputError, match=f"split_by is {split_by}, but no column is the {role}: give columns.{role}"):
        read("text,label\na,b\n", split_by=split_by)


@pytest.mark.parametrize("table", ["table.xlsx", "a/table.csv", "../table.csv", "table"])
def test_a_table_of_another_kind_is_refused(table):
    with pytest.raises(InputError, match="expected a file name, without folders, that ends in .csv, .tsv"):
        source(table=table)


def test_a_table_that_is_not_there_says_where_to_put_it():
    with pytest.raises(InputError, match="data/mine/table.csv: no such file: put your table and its files into data/"):
        source().generate(Path("raw"), seed=1)


def test_reading_needs_the_raw_folder_alone():
    put(["1.png"])
    read("image,label\n1.png,x\n")
    (HOME / "1.png").unlink()
    (HOME / "table.csv").unlink()
    (sample,) = samples(list(source().read(Path("raw"))))
    assert (sample.image, sample.label) == (IMAGE, "x")


def test_files_are_read_one_at_a_time():
    for number in range(8):
        put([f"{number}.png"], bytes([number]) * 2_000_000)
    read("image\n" + "".join(f"{number}.png\n" for number in range(8)))
    tracemalloc.start()
    assert sum(len(sample.image) for sample in source().read(Path("raw"))) == 16_000_000
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 9_000_000  # one as it is read and put together, and the one before


def test_fields_follow_the_columns():
    assert source().fields == (
        *("image", "audio", "video", "texts", "message", "questions", "transcript", "label", "tags", "group"),
    )
    assert source(columns=dict.fromkeys(ROLES, "none") | {"text": "x", "label": "y"}).fields == ("texts", "label")


def test_a_row_has_only_its_filled_cells():
    (HOME / "table.csv").write_text(" a , b ,\n1,,\n")
    assert list(read_rows(HOME / "table.csv")) == [Row(2, {"a": "1"})]


def test_split_by_auto_takes_the_column_where_there_is_one_and_says_so(capsys):
    rows = [("train", 6), ("val", 2), ("test", 4)]
    text = "text,label,split\n" + "".join(f"t{word}{n},x,{word}\n" for word, num in rows for n in range(num))
    found = samples(read(text, split_by="auto", val_fraction=0.4, test_fraction=0.4))
    assert Counter(sample.split for sample in found) == dict(rows)
    assert "split by the column split" in capsys.readouterr().out
    text = "text,label\n" + "".join(f"t{n},x\n" for n in range(60))
    by_auto, by_hash = (
        samples(read(text, split_by=way, val_fraction=0.3, test_fraction=0.3)) for way in ("auto", "hash")
    )
    assert by_auto == by_hash
    assert {sample.split for sample in by_auto} == {"train", "val", "test"}
    assert "split by hash: no column of train, val and test" in capsys.readouterr().out
    read("text,label,fold\n" + "".join(f"t{n},x,{n % 3}\n" for n in range(60)), split_by="auto")
    assert "split by hash: the column fold has 0, 1, 2, which are not train, val or test" in capsys.readouterr().out


@pytest.mark.parametrize("place", [0, 30, 60])
def test_rows_added_anywhere_move_no_other_row_to_another_split(place):
    rows = [f"text {number},{number % 2}" for number in range(60)]

    def splits(rows: list[str]) -> dict[str, str | None]:
        found = samples(read("\n".join(["text,label", *rows]), val_fraction=0.3, test_fraction=0.3))
        return {sample.texts[0]: sample.split for sample in found}

    before = splits(rows)
    after = splits([*rows[:place], "new text,0", "newer text,1", *rows[place:]])
    assert set(before.values()) == {"train", "val", "test"}
    assert {text: after[text] for text in before} == before


def test_the_same_picture_under_other_names_stays_on_one_split():
    for number in range(20):
        put([f"a{number}.png", f"b/{number}.png"], encode(make_image(number, (8, 8)), "PNG"))
    rows = [f"{name},x" for number in range(20) for name in (f"a{number}.png", f"b/{number}.png")]
    found = samples(read("\n".join(["image,label", *rows]), val_fraction=0.3, test_fraction=0.3))
    assert [sample.split for sample in found[::2]] == [sample.split for sample in found[1::2]]
    assert {sample.split for sample in found} == {"train", "val", "test"}


@pytest.mark.parametrize("name", ["video", "clip", "movie", "clip_path"])
@pytest.mark.parametrize("suffix", [".mp4", ".MOV", ".webm", ".mkv", ".avi", ""])
def test_a_column_of_videos_is_found_by_its_cells_and_packed(name, suffix):
    film = video()
    put([f"clips/a{suffix}", f"clips/b{suffix}"], film)
    found = samples(read(f"{name},label\nclips/a{suffix},dog\nclips/b{suffix},cat\n"))
    assert [(sample.video, sample.image, sample.label) for sample in found] == [
        (film, None, "dog"),
        (film, None, "cat"),
    ]


def test_a_video_may_have_several_texts_and_stand_beside_an_image_and_a_sound():
    put(["a.mp4"], video())
    put(["a.png"])
    rows = "a.png,a.wav,a.mp4,A dog runs\na.png,a.wav,a.mp4,Dogs run\n"
    put(["a.wav"], wav())
    (sample,) = samples(read(f"picture,sound,film,caption\n{rows}"))
    assert sample.texts == ("A dog runs", "Dogs run")
    assert sample.video and sample.image and sample.audio


@pytest.mark.parametrize("name", ["transcript", "Transcription", "words"])
def test_what_is_spoken_is_a_column_of_its_own_where_it_is_asked_for(name):
    put(["a.wav"], wav())
    table = f"sound,{name},note\na.wav,Bin blue at S three,x\n"
    wanted = name if name == "words" else "auto"
    (sample,) = samples(read(table, columns={"transcript": wanted}))
    assert (sample.transcript, sample.texts, bool(sample.audio)) == ("Bin blue at S three", (), True)
    (sample,) = samples(read(table, columns={"transcript": "none", "text": name}))
    assert (sample.transcript, sample.texts) == (None, ("Bin blue at S three",))


def test_columns_of_params_from_before_there_were_videos_name_none():
    columns = dict.fromkeys((role for role in ROLES if role not in ("video", "transcript")), "auto")
    section = {"source": "table", "folder": "mine", "table": "table.csv", "split_by": "hash", "columns": columns}
    assert TableParams.model_validate(section | {"val_fraction": 0.1, "test_fraction": 0.1}).columns.video == "none"
