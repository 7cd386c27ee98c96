# ruff: noqa: D103 - the names of the tests are sentences
"""Archives are read in place, and what is unsafe, too large or damaged is refused by name."""

import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.base.errors import InputError
from stages.raw.archive import ArchiveLimits, open_archive

Edit = Callable[[zipfile.ZipInfo], None]


def make_zip(path: Path, members: dict[str, bytes], **edits: Edit) -> Path:
    """Write an archive; `before` and `after` change each member's header before and after its bytes go in."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            edits.get("before", lambda info: None)(info)
            archive.writestr(info, content)
            edits.get("after", lambda info: None)(info)  # lands in the table of contents alone
    return path


def set_field(**fields: object) -> Edit:
    """Make an edit that sets fields of a header."""

    def edit(info: zipfile.ZipInfo) -> None:
        for name, value in fields.items():
            setattr(info, name, value)

    return edit


def refusal(path: Path, limits: ArchiveLimits | None = None) -> str:
    """Open, check and return the message of the refusal, which always names the archive."""
    with pytest.raises(InputError) as caught, open_archive(path, limits) as archive:
        archive.check()
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_names_are_sorted_files_without_what_macos_adds(tmp_path):
    members = {"b/2.txt": b"2", "b/": b"", "a.txt": b"1", "__MACOSX/b/._2.txt": b"x", "b/.DS_Store": b"x"}
    with open_archive(make_zip(tmp_path / "a.zip", members)) as archive:
        assert archive.names() == ("a.txt", "b/2.txt")
        assert archive.read("b/2.txt") == b"2"
        assert "a.txt" in archive
        assert "b/" not in archive
        assert "b/.DS_Store" not in archive
        archive.check()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_stored_member_of_several_chunks_is_read_whole(tmp_path):
    content = bytes(range(256)) * (3 << 12)  # 3 MiB
    path = make_zip(tmp_path / "a.zip", {"x": content}, before=set_field(compress_type=zipfile.ZIP_STORED))
    with open_archive(path) as archive:
        assert archive.read("x") == content


def test_a_missing_file_is_named_with_some_that_are_there(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"here.txt": b""})
    reason = r"a\.zip has no file 'gone\.txt' among its 1 \('here\.txt'"
    with open_archive(path) as archive, pytest.raises(InputError, match=reason):
        archive.read("gone.txt")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute path"),
        ("C:/x.txt", "drive letter"),
        ("c:x.txt", "drive letter"),
        ("a\\b.txt", "backslash"),
        ("a/../../b.txt", "'..'"),
        ("../", "'..'"),
        ("..", "'..'"),
    ],
)
def test_a_name_that_could_lead_out_is_refused(tmp_path, name, reason):
    message = refusal(make_zip(tmp_path / "a.zip", {"good.txt": b"", name: b""}))
    assert repr(name) in message
    assert reason in message


def test_dots_inside_a_name_are_allowed(tmp_path):
    with open_archive(make_zip(tmp_path / "a.zip", {"a..b/...x": b"1"})) as archive:
        assert archive.read("a..b/...x") == b"1"


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("x", stat.S_IFLNK | 0o777, "symbolic link"),
        ("x/", stat.S_IFLNK | 0o777, "symbolic link"),
        ("x", stat.S_IFIFO | 0o644, "special file"),
        ("x", stat.S_IFCHR | 0o644, "special file"),
        ("x", stat.S_IFDIR | 0o755, "special file"),
    ],
)
def test_an_entry_that_is_no_regular_file_is_refused(tmp_path, name, mode, reason):
    path = make_zip(tmp_path / "a.zip", {name: b"/etc/passwd"}, before=set_field(external_attr=mode << 16))
    message = refusal(path)
    assert repr(name) in message
    assert reason in message


def test_regular_modes_and_folders_of_unix_are_allowed(tmp_path):
    def mode(info: zipfile.ZipInfo) -> None:
        info.external_attr = (stat.S_IFDIR | 0o755 if info.is_dir() else stat.S_IFREG | 0o644) << 16

    with open_archive(make_zip(tmp_path / "a.zip", {"d/": b"", "d/x": b"1"}, before=mode)) as archive:
        assert archive.names() == ("d/x",)


def test_an_encrypted_member_is_refused(tmp_path):
    message = refusal(make_zip(tmp_path / "a.zip", {"x": b"1"}, after=set_field(flag_bits=1)))
    assert "'x' is encrypted" in message


def test_a_method_whose_decoder_cannot_be_bounded_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"x": b"1"}, before=set_field(compress_type=zipfile.ZIP_BZIP2))
    assert "'x' is compressed by method 12" in refusal(path)


def test_a_name_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"first")
        archive.writestr("x", b"second")
    assert "'x' stands in it twice" in refusal(path)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ArchiveLimits(max_members=2), "it has 3 members, allowed are 2"),
        (ArchiveLimits(max_total_bytes=29), "member 'c' brings the total to 30 bytes, allowed are 29"),
        (ArchiveLimits(max_member_bytes=9), "member 'a' has 10 bytes, allowed are 9"),
    ],
)
def test_more_than_the_limits_is_refused(tmp_path, limits, reason):
    path = make_zip(tmp_path / "a.zip", {name: b"0123456789" for name in "abc"})
    assert reason in refusal(path, limits)
    with open_archive(path, ArchiveLimits(max_members=3, max_total_bytes=30, max_member_bytes=10)) as archive:
        archive.check()


def test_a_huge_table_of_contents_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(50):
            archive.writestr(f"{number}{'x' * 30_000}", b"")
    assert "the table of contents takes 15" in refusal(path, ArchiveLimits(max_members=100))


def test_a_bomb_that_lies_about_its_size_is_stopped_at_that_size(tmp_path):
    zeros = bytes(64 << 20)  # 64 KiB in the archive
    path = make_zip(tmp_path / "a.zip", {"bomb": zeros}, after=set_field(file_size=100))
    del zeros
    tracemalloc.start()
    message = refusal(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "'bomb' is damaged" in message
    assert peak_bytes < 8 << 20


def test_a_member_shorter_than_declared_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"x": b"12345"}, after=set_field(file_size=9))
    assert "'x' is damaged (declared as 9 bytes, it holds 5)" in refusal(path)


def test_check_holds_a_chunk_and_not_a_member(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"x": bytes(32 << 20)})
    with open_archive(path) as archive:
        tracemalloc.start()
        archive.check()
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


def test_a_bad_crc_is_found_by_check_and_by_read(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"good": b"1", "x": b"1"})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("x").header_offset + 30 + len("x")
    content[start : start + 3] = b"\x33\x02\x00"  # deflated "0"
    path.write_bytes(content)
    assert "'x' is damaged (Bad CRC-32" in refusal(path)
    with open_archive(path) as archive, pytest.raises(InputError, match="'x' is damaged"):
        archive.read("x")


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_archive_says_what_to_do(tmp_path, keep):
    path = make_zip(tmp_path / "a.zip", {f"{number}.txt": b"text" * number for number in range(50)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    message = refusal(path)
    assert "the file is truncated or not a zip archive" in message
    assert "delete it and run the stage again" in message


def test_any_damage_is_an_input_error_or_leaves_the_bytes_right(tmp_path):
    members = {f"{number}": bytes([number]) * 40 for number in range(3)}
    path = make_zip(tmp_path / "a.zip", members)
    content = path.read_bytes()
    refused = 0
    for position in range(len(content)):
        for value in (0x00, 0xFF):
            path.write_bytes(content[:position] + bytes([value]) + content[position + 1 :])
            try:
                with open_archive(path) as archive:
                    read = {name: archive.read(name) for name in archive.names()}
            except InputError:
                refused += 1
            else:
                assert set(read.values()) <= set(members.values())
    assert refused > len(content) / 2


def test_a_missing_archive_and_a_folder_are_input_errors(tmp_path):
    assert "No such file" in refusal(tmp_path / "gone.zip")
    assert "Is a directory" in refusal(tmp_path)
