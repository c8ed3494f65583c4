"""Zips of other systems, with other names, and with passwords."""

import io
import struct
import zipfile
import zlib
from functools import partial

import cv2
import numpy as np
import pytest

from edge_runtime.errors import DatasetError
from train.data.dataset import load
from train.data.decoding import decode
from train.data.listing.image_files import open_listing
from train.data.listing.stored_files import StoredFile, sort_files


def png(value):
    return cv2.imencode(".png", np.full((8, 8), value, np.uint8))[1].tobytes()


def make_zip(path, names, extra=None):
    """Writes names as they are given: bytes without the UTF-8 flag."""
    placeholders = {}
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            raw = name if isinstance(name, bytes) else name.encode()
            info = zipfile.ZipInfo(f"{number:0{len(raw)}}")
            info.create_system = 0
            if extra:
                info.extra = extra(raw)
            placeholders[info.filename.encode()] = raw
            archive.writestr(info, png(number))
    data = path.read_bytes()
    for placeholder, raw in placeholders.items():
        for header, length in ((b"PK\x03\x04", 30), (b"PK\x01\x02", 46)):
            at = data.index(placeholder, data.index(header)) if header else 0
            while data[at - length : at - length + 4] != header:
                at = data.index(placeholder, at + 1)
            data = data[:at] + raw + data[at + len(raw) :]
    path.write_bytes(data)
    return path


def labels_of(path):
    with open_listing(path) as source:
        return [entry.label for entry in source.entries]


@pytest.mark.parametrize(
    "names",
    [
        ["cat\\1.png", "dog\\2.png"],
        ["photos/cat\\1.png", "photos/dog\\2.png"],
        ["./cat/1.png", "./dog/2.png"],
        ["/home/me/cat/1.png", "/home/me/dog/2.png"],
        ["photos//cat/1.png", "photos//dog/2.png"],
    ],
    ids=["backslashes", "mixed", "dots", "absolute", "double"],
)
def test_other_ways_to_write_paths_are_read(tmp_path, names):
    assert labels_of(make_zip(tmp_path / "set.zip", names)) == ["cat", "dog"]


@pytest.mark.parametrize("names", [["fr\xf6hlich", "traurig"], ["\u732b", "\u72d7"]])
def test_utf8_names_without_the_flag_are_read(tmp_path, names):
    path = make_zip(tmp_path / "set.zip", [f"{name}/1.png" for name in names])
    assert sorted(labels_of(path)) == sorted(names)


def test_names_in_the_unicode_field_are_read(tmp_path):
    names = {
        "fr\xf6h/1.png".encode("cp850"): "fr\xf6h/1.png",
        b"sad/1.png": "sad/1.png",
    }

    def extra(raw):
        value = struct.pack("<BI", 1, zlib.crc32(raw)) + names[raw].encode()
        return struct.pack("<HH", 0x7075, len(value)) + value

    path = make_zip(tmp_path / "set.zip", list(names), extra)
    assert sorted(labels_of(path)) == ["fr\xf6h", "sad"]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", ["\u732b", "\u72d7\u72d7"]),
        ("shift_jis", ["\u30cd\u30b3", "\u30a4\u30cc"]),
        ("cp850", ["fr\xf6hlich", "traurig"]),
    ],
)
def test_folder_names_in_an_unknown_encoding_are_refused(tmp_path, encoding, names):
    raw = [f"{name}/1.png".encode(encoding) for name in names]
    path = make_zip(tmp_path / "set.zip", raw)
    with pytest.raises(DatasetError) as refused:
        labels_of(path)
    assert any(repr(name) in str(refused.value) for name in names)
    assert "--metadata-encoding" in str(refused.value)


def test_file_names_in_an_unknown_encoding_do_not_matter(tmp_path):
    names = [b"cat/\xb9\xb7.png", b"dog/1.png"]
    assert labels_of(make_zip(tmp_path / "set.zip", names)) == ["cat", "dog"]


def change(path, offset_by_header, value):
    """Sets a field of the first entry."""
    data = bytearray(path.read_bytes())
    for header, offset in offset_by_header.items():
        at = data.index(header) + offset
        data[at : at + len(value)] = value
    path.write_bytes(data)
    return path


def why(path):
    with open_listing(path) as source, pytest.raises(ValueError) as refused:
        decode(source.entries[0])
    return str(refused.value)


PLAIN = ["cat/1.png", "dog/1.png", "dog/2.png"]


@pytest.mark.parametrize("again", ["cat/1.png", "cat\\1.png", "./cat/1.png"])
def test_later_entry_of_the_same_name_replaces_the_first(tmp_path, again):
    path = make_zip(tmp_path / "set.zip", [*PLAIN, again])
    with open_listing(path) as source:
        assert [entry.name for entry in source.entries] == PLAIN
        assert decode(source.entries[0]).pixels[0, 0] == 3
        reason = "entries of the zip that a later one of the same name replaces"
        assert source.ignored == {reason: ["cat/1.png"]}


def test_file_without_a_suffix_that_cannot_be_read_is_no_image(tmp_path):
    path = make_zip(tmp_path / "set.zip", ["cat/model", *PLAIN])
    change(path, {b"PK\x03\x04": 8, b"PK\x01\x02": 10}, b"\x09")
    with open_listing(path) as source:
        assert [entry.name for entry in source.entries] == PLAIN
        assert source.other_files == {"without a suffix": 1}


def test_of_a_file_without_a_suffix_only_the_start_is_read():
    class Start(io.BytesIO):
        def read(self, size=-1):
            assert 0 <= size <= 64
            return super().read(size)

    def refuse():
        raise AssertionError("the whole file was read")

    contents = {"cat/1": png(1), "dog/2": png(2), "dog/checkpoint": bytes(999)}
    files = [
        StoredFile(name, refuse, partial(Start, data))
        for name, data in contents.items()
    ]
    tree = sort_files("set", files, [], {})
    assert [file.path for file in tree.images] == ["cat/1", "dog/2"]


def test_picture_without_a_suffix_may_tell_its_kind_late():
    start = b"\0\0\0\x20ftypMA1B" + bytes(4) + b"mif1miafavif"
    file = StoredFile("cat/1", lambda: b"", partial(io.BytesIO, start + bytes(99)))
    assert sort_files("set", [file], [], {}).images == [file]


def test_entry_with_a_password_says_so(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    change(path, {b"PK\x03\x04": 6, b"PK\x01\x02": 8}, b"\x01")
    assert why(path) == "password: unpack the zip with it first"


def test_entry_that_claims_to_be_huge_is_not_read(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    assert why(change(path, {b"PK\x01\x02": 24}, struct.pack("<I", 2**31))) == (
        f"expected at most {64 * 2**20} bytes, got {2**31}"
    )


def test_unknown_compression_says_what_to_do(tmp_path):
    path = make_zip(tmp_path / "set.zip", PLAIN)
    change(path, {b"PK\x03\x04": 8, b"PK\x01\x02": 10}, b"\x09")
    assert "unpack the zip with another program" in why(path)


def test_class_behind_a_password_is_refused_with_the_reason(tmp_path):
    path = make_zip(tmp_path / "set.zip", ["cat/1.png", "dog/1.png", "dog/2.png"])
    change(path, {b"PK\x03\x04": 6, b"PK\x01\x02": 8}, b"\x01")
    with pytest.raises(
        DatasetError, match=r"none of \['cat'\]: 1 cannot be read.*passw"
    ):
        load(path)
