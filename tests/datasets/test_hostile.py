"""Data sets from an attacker: each is read or refused in one line, soon, in little memory."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.random import Generator
from PIL import Image

from asq_hw import datasets
from asq_hw.datasets.pickled import read_pickle
from asq_hw.datasets.unpacked import Gunzip, PlainFile, UnpackError
from asq_hw.errors import InputError
from asq_hw.files.pickles import PickleError
from tests.datasets.test_cifar import BATCHES, binary, pickled
from tests.helpers.guards import no_hang, peak_memory

PATIENCE = 60
TEST_BATCH = pickled(*BATCHES["test_batch"])


# Pickles


def keys_of_tuples(depth: int) -> bytes:
    """A dictionary whose key holds itself twice on each level: to hash it takes 2^depth steps."""
    return b"\x80\x02}K\x01\x85" + b"q\x01h\x01\x86" * depth + b"K\x01s."


def nested(depth: int) -> bytes:
    return b"\x80\x02}K\x01" + b"\x85" * depth + b"K\x01s."


@pytest.mark.parametrize(
    "content",
    [
        keys_of_tuples(80),
        nested(1_000_000),
        b"\x80\x02}K\x01K\x01" + b"\x85" * 1_000_000 + b"s.",
        b"\x80\x02" + b"]q\x01" + b"h\x01a" * 1_000 + b".",  # a list that holds itself
        b"\x80\x02}q\x01K\x01h\x01s.",  # a dictionary that does
        b"\x80\x02" + b"]" * 1_000_000 + b".",
        b"\x80\x02" + b"(" * 600_000 + b".",
        b"\x80\x02}Ns.",
        b"\x80\x02}U\x01a)s.",
        b"\x80\x02)\x85\x85\x85.",
        b"\x80\x02)\x81.",
    ],
)
def test_a_pickle_cannot_build_what_is_deep_or_holds_itself(content: bytes) -> None:
    with no_hang(PATIENCE), pytest.raises(PickleError):
        read_pickle(content)


def array(shape: bytes) -> bytes:
    """An array of six bytes."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    return (
        b"\x80\x02"
        + made
        + b"(K\x01"
        + shape
        + b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR\x89U\x06abcdeftb."
    )


def test_an_array_has_the_size_of_its_bytes() -> None:
    found = read_pickle(array(b"K\x02K\x03\x86"))
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [[97, 98, 99], [100, 101, 102]]


@pytest.mark.parametrize(
    "shape", [b"J\xff\xff\xff\xffK\x03\x86", b"\x88K\x06\x86", b"K\x02NK\x03\x87", b"K\x07\x85"]
)
def test_an_array_of_another_size_is_refused(shape: bytes) -> None:
    """A size of -1, which NumPy would find out; one that is True; none; and one too many."""
    with pytest.raises(PickleError):
        read_pickle(array(shape))


def test_a_pickle_may_have_so_many_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asq_hw.datasets.pickled._MOST_INSTRUCTIONS", 5)
    assert read_pickle(b"\x80\x02]K\x01a.") == [1]
    with pytest.raises(PickleError, match="at most 5 instructions"):
        read_pickle(b"\x80\x02]K\x01aK\x02a.")


@pytest.mark.parametrize(
    "key", [b"K\x01\x85", b")", b"N", b"\x88"], ids=["(1,)", "()", "None", "True"]
)
def test_a_key_is_a_string_or_an_integer(key: bytes) -> None:
    assert read_pickle(b"\x80\x02}U\x01aK\x02sK\x01K\x03s.") == {b"a": 2, 1: 3}
    with pytest.raises(PickleError, match="a key in it must be a string or an integer"):
        read_pickle(b"\x80\x02}" + key + b"K\x01s.")


# Archives


def member(name: str, content: bytes = b"", kind: bytes = b"0", size: int | None = None) -> bytes:
    """One member of a tar archive, by the format's own description."""
    shown = len(content) if size is None else size
    header = bytearray(512)
    header[:100] = name.encode().ljust(100, b"\0")
    header[124:136] = b"%011o\0" % shown
    header[148:156] = b" " * 8
    header[156:157] = kind
    header[257:265] = b"ustar\00000"
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + content + bytes(-len(content) % 512)


END = bytes(1024)


def archive(folder: Path, content: bytes, name: str = "x.tar.gz") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    return path


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_an_archive_by_hand_is_read_to_the_last_batch_that_is_wanted(
    tmp_path: Path, name: str
) -> None:
    """What follows is not looked at, so that it may be anything."""
    content = member("a/test_batch", TEST_BATCH) + member("a/next", size=1 << 32) + b"\xff" * 9999
    dataset = datasets.load(archive(tmp_path, content, name))
    assert np.array_equal(dataset.images.reshape(-1, 3072), BATCHES["test_batch"][0])


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_archive_is_read(tmp_path: Path, format: int) -> None:
    """With a path that needs each format's own way of holding a long one."""
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz", format=format) as made:
        stored = tarfile.TarInfo("/".join(["folder" * 9] * 3 + ["test_batch.bin"]))
        content = binary(*BATCHES["test_batch"])
        stored.size = len(content)
        made.addfile(stored, io.BytesIO(content))
    assert len(datasets.load(path)) == len(BATCHES["test_batch"][1])


def test_an_archive_packed_in_parts_is_read(tmp_path: Path) -> None:
    content = member("test_batch", TEST_BATCH) + END
    parts = [content[start : start + 1000] for start in range(0, len(content), 1000)]
    (tmp_path / "x.tar.gz").write_bytes(b"".join(map(gzip.compress, parts)) + bytes(100))
    assert len(datasets.load(tmp_path / "x.tar.gz")) == len(BATCHES["test_batch"][1])


HEADERS: dict[str, Callable[[], bytes]] = {
    "very many members": lambda: member("empty") * 100_000,
    "a giant header": lambda: member("pax", bytes(1 << 26), b"x"),
    "a giant name": lambda: member("name", b"n" * (1 << 26), b"L"),
    "headers of headers": lambda: member("pax", b"13 path=test\n", b"x") * 20_000,
    "a member without end": lambda: member("other", size=0o77777777777) + bytes(1 << 20),
    "a giant member": lambda: member("test_batch", size=1 << 30) + bytes(1 << 20),
    "digits": lambda: member("pax", b"1" * 16_000, b"x"),
    "a negative size": lambda: member("x").replace(b"00000000000\0", b"-0000000001\0"),
    "no checksum": lambda: member("x").replace(b"ustar", b"USTAR"),
    "half a header": lambda: member("x")[:300],
    "zeros": lambda: bytes(1 << 26),
}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
@pytest.mark.parametrize("what", HEADERS)
def test_an_archive_cannot_go_on_for_ever(tmp_path: Path, what: str, name: str) -> None:
    content = HEADERS[what]()
    # What is not packed has the size that it has.
    path = archive(tmp_path, content[: 1 << 20] if name == "x.tar" else content, name)
    with no_hang(PATIENCE), peak_memory() as peak, pytest.raises(InputError):
        datasets.load(path)
    assert peak[0] < 200e6


BATCH_MEMBER = member("test_batch", TEST_BATCH)


@pytest.mark.parametrize(
    ("before", "one_more", "message"),
    [
        (member("empty") * 999, member("empty"), "at most 1000 members before"),
        (
            member("name", b"n" * 16_384, b"L") + member("short"),
            member("name", b"n" * 16_385, b"L"),
            "a name in it must be at most 16384 bytes, not 16385",
        ),
        (
            b"",
            member("pax", b"1" * 16_385, b"x"),
            "a name in it must be at most 16384 bytes, not 16385",
        ),
    ],
    ids=["members", "names", "headers"],
)
def test_members_and_their_names_are_bounded(
    tmp_path: Path, before: bytes, one_more: bytes, message: str
) -> None:
    """As many as may stand before a batch, and one more."""
    assert len(datasets.load(archive(tmp_path, before + BATCH_MEMBER, "x.tar")))
    with pytest.raises(InputError, match=message):
        datasets.load(archive(tmp_path, before + one_more + BATCH_MEMBER, "x.tar"))


def test_what_is_read_of_a_plain_archive_has_a_limit() -> None:
    assert PlainFile(io.BytesIO(bytes(100)), 100).read(1000) == bytes(100)
    with pytest.raises(UnpackError, match="what is read of it must be at most 99 bytes"):
        PlainFile(io.BytesIO(bytes(100)), 99).read(1000)


def test_empty_gzip_streams_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"") * 20_000)
    with (tmp_path / "x.gz").open("rb") as file, pytest.raises(UnpackError, match="10000 gzip"):
        Gunzip(file, 100).read(1)


@pytest.mark.parametrize("limit", [99, 100])
def test_what_is_unpacked_has_a_limit(tmp_path: Path, limit: int) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(bytes(100)))
    with (tmp_path / "x.gz").open("rb") as file:
        if limit == 100:
            assert Gunzip(file, limit).read(1000) == bytes(100)
        else:
            with pytest.raises(UnpackError, match="at most 99 bytes"):
                Gunzip(file, limit).read(1000)


# 100 drawn data sets


def pickle_program(rng: Generator) -> bytes:
    """Instructions by chance, of those that are known and those that are not."""
    words = [
        b"}", b"]", b")", b"(", b"\x85", b"\x86", b"\x87", b"t", b"s", b"u", b"a", b"e", b"q\x01",
        b"h\x01", b"K\x01", b"N", b"U\x01a", b"R", b"b", b"0", b"2", b"cos\nsystem\n", b"\x89",
        b"cnumpy\ndtype\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"J\xff\xff\xff\xff",
        b"T\xff\xff\xff\x7f", b"I99\n", b"L1L\n", b"\x8b\xff\xff\xff\x7f", b"i__main__\nx\n",
    ]  # fmt: skip
    chosen = rng.integers(0, len(words), int(rng.integers(1, 3000)))
    return b"\x80\x02" + b"".join(words[index] for index in chosen) + b"."


def mutated(content: bytes, rng: Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[int(rng.integers(len(changed)))] = int(rng.integers(256))
    return bytes(changed if rng.random() < 0.7 else changed[: int(rng.integers(len(changed)))])


def hostile_batch(folder: Path, rng: Generator) -> Path:
    content = pickle_program(rng) if rng.random() < 0.5 else mutated(TEST_BATCH, rng)
    (folder / "test_batch").write_bytes(content)
    return folder


def hostile_archive(folder: Path, rng: Generator) -> Path:
    content = member("d/other", b"x" * 700) + member("d/test_batch", TEST_BATCH) + END
    packed = rng.random() < 0.5
    content = content if packed and rng.random() < 0.5 else mutated(content, rng)
    content = gzip.compress(content) if packed else content
    content = mutated(content, rng) if packed else content
    path = folder / ("x.tgz" if packed else "x.tar")
    path.write_bytes(content)
    return path


def hostile_idx(folder: Path, rng: Generator) -> Path:
    sizes = [0, 1, 2, 28, 255, 2**16, 2**31, 2**32 - 1]
    for stem, rank in (("images-idx3", 3), ("labels-idx1", 1)):
        shape = [int(rng.choice(sizes)) for _ in range(rank)]
        data = rng.bytes(min(int(np.prod(np.array(shape, dtype=object))), 10_000))
        content = bytes([0, 0, 8, rank]) + struct.pack(f">{rank}I", *shape) + data
        packed = rng.random() < 0.5
        content = mutated(content, rng) if rng.random() < 0.3 else content
        path = folder / f"t10k-{stem}-ubyte{'.gz' if packed else ''}"
        path.write_bytes(gzip.compress(content) if packed else content)
    return folder


def hostile_images(folder: Path, rng: Generator) -> Path:
    """Image files of wild shapes, then damaged or renamed; pipes and folders among them."""
    place = folder / "val" / "a\x1b[31m"
    place.mkdir(parents=True)
    kinds = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "ppm": "PPM"}
    for number in range(4):
        ending = str(rng.choice(list(kinds)))
        path = place / f"{number}.{ending}"
        match int(rng.integers(8)):
            case 0:
                os.mkfifo(path)
            case 1:
                path.mkdir()
            case 2:
                path.write_bytes(rng.bytes(int(rng.integers(200))))
            case chance:
                size = [int(x) for x in rng.choice([1, 2, 7, 300, 9000], 2)]
                mode = str(rng.choice(["RGB", "L", "1"])) if ending != "webp" else "RGB"
                image, made = Image.new(mode, size, int(rng.integers(2))), io.BytesIO()
                image.save(made, kinds[ending if chance != 3 else "png"])
                content = made.getvalue()
                path.write_bytes(mutated(content, rng) if chance > 4 else content)
    return folder


KINDS: list[Callable[[Path, Generator], Path]] = [
    hostile_batch,
    hostile_archive,
    hostile_idx,
    hostile_images,
]


@pytest.mark.parametrize("kind", KINDS)
def test_25_drawn_data_sets_are_read_or_refused(
    tmp_path: Path, kind: Callable[[Path, Generator], Path]
) -> None:
    rng = np.random.default_rng(11)
    refused = set()
    for number in range(25):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = kind(folder, rng)
        with no_hang(PATIENCE), peak_memory() as peak:
            try:
                dataset = datasets.load(path, image_size=None if kind is not hostile_images else 16)
                assert len(dataset) > 0
            except InputError as error:
                refused.add(str(error))
        assert peak[0] < 700e6
    assert len(refused) > 5
