"""CIFAR-10 from files in its own two formats, built here byte by byte; and what is refused."""

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asq_hw import datasets
from asq_hw.datasets.pickled import read_pickle
from asq_hw.errors import InputError
from asq_hw.files.pickles import PickleError

COUNT = 4
TRAIN = [f"data_batch_{index}" for index in range(1, 6)]


def batch(seed: int) -> tuple[NDArray[np.uint8], list[int]]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (COUNT, 3072), dtype=np.uint8), rng.integers(0, 10, COUNT).tolist()


BATCHES = {name: batch(seed) for seed, name in enumerate([*TRAIN, "test_batch"])}


def text(value: bytes) -> bytes:
    """Python 2's string."""
    if len(value) < 256:
        return b"U" + bytes([len(value)]) + value
    return b"T" + struct.pack("<i", len(value)) + value


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    return (
        b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)
    )


def array(pixels: NDArray[np.uint8], *, code: bytes = b"u1") -> bytes:
    """What NumPy's own reduction of an array writes in protocol 2."""
    shape = b"".join(integer(size) for size in pixels.shape)
    made = b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06"
    made += b"K\x00\x85U\x01b\x87Rq\x07"
    kind = b"cnumpy\ndtype\nq\x08" + text(code) + b"K\x00K\x01\x87Rq\x09"
    kind_state = b"(K\x03U\x01|NNN" + integer(-1) * 2 + b"K\x00tb"
    return (
        made
        + b"(K\x01"
        + shape
        + b"\x86"
        + kind
        + kind_state
        + b"\x89"
        + text(pixels.tobytes())
        + b"tb"
    )


def pickled(pixels: NDArray[np.uint8], labels: list[int], **options: bytes) -> bytes:
    """A batch as Python 2's cPickle wrote it: strings of bytes, every container memoized."""
    names = b"".join(text(b"image_%d.png" % index) for index in range(len(labels)))
    items = (
        text(b"batch_label") + text(b"training batch 1 of 5"),
        text(b"labels") + b"]q\x03(" + b"".join(map(integer, labels)) + b"e",
        text(b"data") + array(pixels, **options),
        text(b"filenames") + b"]q\x04(" + names + b"e",
    )
    return b"\x80\x02}q\x01(" + b"".join(items) + b"u."


def binary(pixels: NDArray[np.uint8], labels: list[int]) -> bytes:
    return b"".join(
        bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True)
    )


def files(version: str) -> dict[str, bytes]:
    if version == "python":
        return {name: pickled(*batch) for name, batch in BATCHES.items()}
    return {f"{name}.bin": binary(*batch) for name, batch in BATCHES.items()}


def pack(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        folder = tarfile.TarInfo("cifar-10-batches")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def unpack(folder: Path, contents: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


PLACES = {
    ("python", False): "cifar-10-batches-py",
    ("binary", False): "cifar-10-batches-bin",
    ("python", True): "cifar-10-python.tar.gz",
    ("binary", True): "cifar-10-binary.tar.gz",
}


def write(root: Path, version: str, *, packed: bool) -> Path:
    place = root / PLACES[version, packed]
    return (pack if packed else unpack)(place, files(version))


def assert_is(dataset: datasets.Dataset, names: list[str]) -> None:
    pixels = np.concatenate([BATCHES[name][0] for name in names])
    assert np.array_equal(dataset.images.reshape(-1, 3072), pixels)
    assert dataset.images.shape[1:] == (3, 32, 32)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [label for name in names for label in BATCHES[name][1]]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("version", ["python", "binary"])
def test_every_form_is_read_by_path_and_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, packed: bool
) -> None:
    place = write(tmp_path, version, packed=packed)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    for name in (place, "cifar10"):
        assert_is(datasets.load(name, split="train"), TRAIN)
        assert_is(datasets.load(name), ["test_batch"])
    assert datasets.load("cifar10", limit=2).images.shape == (2, 3, 32, 32)
    assert datasets.load("cifar10").classes[6] == "frog"


def test_the_pickles_of_the_test_are_pickles() -> None:
    """Python itself reads them as we do, so they are what they claim to be."""
    pixels, labels = BATCHES["test_batch"]
    found = pickle.loads(pickled(pixels, labels), encoding="bytes")
    assert np.array_equal(found[b"data"], pixels)
    assert found[b"labels"] == labels
    ours = read_pickle(pickled(pixels, labels))
    assert isinstance(ours, dict)
    assert ours.keys() == found.keys()
    assert ours[b"filenames"] == found[b"filenames"]


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("harm done",))


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_batch_is_never_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], protocol: int
) -> None:
    content = pickle.dumps({b"data": Harmful(), b"labels": []}, protocol)
    unpack(tmp_path, {"test_batch": content})
    with pytest.raises(InputError, match="test_batch is no batch of CIFAR-10"):
        datasets.load(tmp_path)
    assert "harm" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x80\x02cos\nsystem\nU\x02ls\x85R.", "names os.system, which no batch needs"),
        (b"\x80\x02U\x02ls(cos\nsystem\no.", "holds the instruction OBJ|names os.system"),
        (b"\x80\x02X\x01\0\0\0a.", "holds the instruction BINUNICODE, which no batch needs"),
        (b"\x80\x02NQ.", "holds the instruction BINPERSID, which no batch needs"),
        (b"\x80\x02K\x01K\x02.", "end with one value"),
        (b"\x80\x02.", "end with one value"),
        (b"\x80\x02h\x07.", "7"),
        (b"\x80\x02t.", "no batch|pop from empty list"),
        (b"", "pickle exhausted|at least"),
        (b"\x80\x02K\x01K\x02a.", "appended to what is no list"),
        (b"\x80\x02K\x01K\x02K\x03s.", "set in what is no dictionary"),
        (b"\x80\x02}(K\x01u.", "shorter"),
        (b"\x80\x02]U\x01ab.", "not of unsigned bytes"),
    ],
)
def test_other_pickles_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(PickleError, match=message):
        read_pickle(content)


def test_a_pickle_cut_short_or_changed_is_refused_or_harmless(tmp_path: Path) -> None:
    pixels, labels = BATCHES["test_batch"]
    whole = pickled(pixels[:1], labels[:1])
    rng = np.random.default_rng(1)
    damaged = [whole[:kept] for kept in range(0, len(whole), 97)]
    for position in [*range(180), *rng.integers(0, len(whole), 200)]:
        copy = bytearray(whole)
        copy[position] ^= int(rng.integers(1, 256))
        damaged.append(bytes(copy))
    for content in damaged:
        unpack(tmp_path, {"test_batch": content})
        try:
            assert datasets.load(tmp_path).images.shape == (1, 3, 32, 32)
        except InputError as error:
            assert "test_batch" in str(error)  # many are, not all


def with_batch(change: Callable[[], bytes], name: str = "test_batch") -> dict[str, bytes]:
    version = "binary" if name.endswith(".bin") else "python"
    return files(version) | {name: change()}


PIXELS, LABELS = BATCHES["test_batch"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("test_batch.bin", binary(PIXELS, LABELS)[:-1], "records of 3073 bytes, not 12291 bytes"),
        ("test_batch.bin", b"", "must not be empty"),
        ("test_batch.bin", binary(PIXELS, [0, 1, 10, 2]), r"labels 0\.\.9, not 10"),
        ("test_batch", pickled(PIXELS[:, :3000], LABELS), r"data of shape \(N, 3072\), not"),
        ("test_batch", pickled(PIXELS, LABELS[:3]), "one integer label for each of 4 images"),
        ("test_batch", pickled(PIXELS, LABELS, code=b"i1"), "not of unsigned bytes"),
        ("test_batch", b"\x80\x02].", "a dictionary with data and labels"),
        ("test_batch", b"GIF89a", "is no batch of CIFAR-10"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_batch_is_named(
    tmp_path: Path, name: str, content: bytes, message: str, packed: bool
) -> None:
    contents = with_batch(lambda: content, name)
    place = (pack if packed else unpack)(tmp_path / "a.tar.gz", contents)
    with pytest.raises(InputError, match=message) as caught:
        datasets.load(place)
    assert str(caught.value).startswith(f"{place}")


@pytest.mark.parametrize("version", ["python", "binary"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_missing_batch_is_named(tmp_path: Path, version: str, packed: bool) -> None:
    contents = files(version)
    end = ".bin" if version == "binary" else ""
    del contents[f"data_batch_3{end}"]
    place = (pack if packed else unpack)(tmp_path / "a.tar.gz", contents)
    assert_is(datasets.load(place), ["test_batch"])
    with pytest.raises(InputError, match=rf"must hold the CIFAR-10 batch data_batch_3{end}$"):
        datasets.load(place, split="train")


@pytest.mark.parametrize("kept", [0, 10, 1000, 50_000])
def test_a_truncated_archive_is_named(tmp_path: Path, kept: int) -> None:
    place = write(tmp_path, "binary", packed=True)
    place.write_bytes(place.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"binary.tar.gz (could not be read|must hold)"):
        datasets.load(place)


def test_an_archive_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asq_hw.datasets.cifar._ARCHIVE_LIMIT", 100_000)
    contents = {"padding": bytes(1_000_000)} | files("binary")
    place = pack(tmp_path / "a.tar.gz", contents)
    with pytest.raises(InputError, match="unpack to at most 100000 bytes"):
        datasets.load(place)
    monkeypatch.setattr("asq_hw.datasets.cifar._BATCH_LIMIT", 1000)
    with pytest.raises(InputError, match=r"test_batch.bin must be at most 1000 bytes"):
        datasets.load(unpack(tmp_path / "b", files("binary")))


def test_a_missing_data_set_says_what_was_looked_for_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    looked = rf"looked in {tmp_path} and .* for cifar-10-batches-py or .*binary\.tar\.gz"
    with pytest.raises(InputError, match=f"cifar10 was not found .{looked}.*set ASQ_HW_DATA"):
        datasets.load("cifar10")
    with pytest.raises(InputError, match="imagenet was not found"):
        datasets.open_dataset("imagenet")
