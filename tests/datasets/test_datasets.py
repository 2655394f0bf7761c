"""Datasets: what is read from IDX files and packages, and what damaged files are told."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from asq_hw import datasets
from asq_hw.datasets import Dataset
from asq_hw.errors import InputError

IMAGES = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
LABELS = np.array([7, 0, 9], dtype=np.uint8)


def idx(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of unsigned bytes, by the format's own description."""
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(folder: Path, stem: str, content: bytes, *, zipped: bool = True) -> Path:
    path = folder / (f"{stem}.gz" if zipped else stem)
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "t10k-images-idx3-ubyte", idx(IMAGES))
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(LABELS))
    return tmp_path


@pytest.mark.parametrize("zipped", [True, False])
def test_a_folder_of_idx_files_is_read(tmp_path: Path, zipped: bool) -> None:
    write(tmp_path, "t10k-images-idx3-ubyte", idx(IMAGES), zipped=zipped)
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(LABELS), zipped=zipped)
    dataset = datasets.load(tmp_path)
    assert dataset.images.shape == (3, 1, 2, 4)
    assert np.array_equal(dataset.images[:, 0], IMAGES)
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [7, 0, 9]


def test_arrays_are_read_only(folder: Path) -> None:
    dataset = datasets.load(folder)
    with pytest.raises(ValueError, match="read-only"):
        dataset.images[0, 0, 0, 0] = 1


def test_the_training_part_is_looked_for_by_its_own_name(folder: Path) -> None:
    with pytest.raises(InputError, match=r"must hold train-images-idx3-ubyte\.gz or train-images"):
        datasets.load(folder, split="train")


def wrong_magic(content: bytes) -> bytes:
    return b"\0\0\x0d\x03" + content[4:]


def cut_short(content: bytes) -> bytes:
    return content[:-1]


def too_long(content: bytes) -> bytes:
    return content + b"\0"


def header_alone(content: bytes) -> bytes:
    return content[:7]


def huge_sizes(content: bytes) -> bytes:
    return content[:4] + b"\xff" * 12 + content[16:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (wrong_magic, "magic 0x00000803, not 0x00000d03"),
        (cut_short, "must hold 24 bytes for its shape"),
        (too_long, "must hold 24 bytes for its shape"),
        (header_alone, "header of 16 bytes"),
        (huge_sizes, "bytes for its shape"),
    ],
)
def test_damaged_idx_files_are_named(
    folder: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    write(folder, "t10k-images-idx3-ubyte", damage(idx(IMAGES)))
    with pytest.raises(InputError, match=message) as caught:
        datasets.load(folder)
    assert "t10k-images-idx3-ubyte.gz" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 5, 12, -9, -3])
def test_a_truncated_gzip_file_is_named(folder: Path, kept: int) -> None:
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte"):
        datasets.load(folder)


def test_a_corrupted_gzip_file_is_named(folder: Path) -> None:
    path = folder / "t10k-images-idx3-ubyte.gz"
    whole = bytearray(path.read_bytes())
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        path.write_bytes(bytes(damaged))
        try:
            dataset = datasets.load(folder)
        except InputError:
            continue
        # What still loads must be untouched: only the header's idle fields were hit.
        assert np.array_equal(dataset.images[:, 0], IMAGES)


def test_empty_images_are_refused(folder: Path) -> None:
    write(folder, "t10k-images-idx3-ubyte", idx(IMAGES[:0]))
    with pytest.raises(InputError, match="must not be empty"):
        datasets.load(folder)


def test_as_many_labels_as_images(folder: Path) -> None:
    write(folder, "t10k-labels-idx1-ubyte", idx(LABELS[:2]))
    with pytest.raises(InputError, match="label for each of 3 images"):
        datasets.load(folder)


def test_fashion_mnists_labels_must_name_a_class(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "t10k-labels-idx1-ubyte", idx(np.array([0, 10, 1], dtype=np.uint8)))
    (folder.parent / "data").mkdir()
    folder.rename(folder.parent / "data" / "fashion-mnist")
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(folder.parent / "data"))
    with pytest.raises(InputError, match=r"labels 0\.\.9, not 10"):
        datasets.load("fashion-mnist")


def test_idx_files_of_ones_own_name_no_classes(folder: Path) -> None:
    write(folder, "t10k-labels-idx1-ubyte", idx(np.array([0, 46, 1], dtype=np.uint8)))
    dataset = datasets.load(folder)
    assert dataset.classes == ()
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 46, 1]
    spec = datasets.image_spec(dataset)
    assert spec.classes == tuple(str(label) for label in range(47))
    assert (spec.shape, spec.mean, spec.std) == ((1, 2, 4), (0.286,), (0.353,))


def test_a_limit_draws_evenly_and_always_the_same(folder: Path) -> None:
    whole = datasets.load(folder)
    dataset = datasets.load(folder, limit=2)
    assert dataset.places is not None
    first, second = dataset.places
    assert first == 0 and second in (1, 2)  # of three images, one of the first and one of the rest
    assert np.array_equal(dataset.images, whole.images[[first, second]])
    assert dataset.labels is not None and whole.labels is not None
    assert np.array_equal(dataset.labels, whole.labels[[first, second]])
    assert len(datasets.load(folder, limit=1000)) == 3


@pytest.mark.parametrize("order", ["sorted", "taking turns"])
def test_a_sample_holds_every_class(order: str) -> None:
    """Ten classes of 60: whatever their order, a sample of 100 has about ten of each."""
    labels = np.repeat(np.arange(10), 60) if order == "sorted" else np.tile(np.arange(10), 60)
    images = np.zeros((600, 1, 1, 1), dtype=np.uint8)
    classes = tuple("abcdefghij")
    whole = Dataset(name="x", images=images, labels=labels, classes=classes, mean=0.0, std=1.0)
    part = whole.sample(100)
    assert part.labels is not None and part.places is not None
    counts = np.bincount(part.labels, minlength=10)
    assert counts.min() >= 3 and counts.max() <= 20
    assert np.array_equal(part.places, whole.sample(100).places)
    assert np.array_equal(part.labels, labels[part.places])
    again = part.sample(10)
    assert again.places is not None and again.labels is not None
    assert np.array_equal(again.labels, labels[again.places])


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_is_at_least_one(folder: Path, limit: int) -> None:
    with pytest.raises(InputError, match=f"limit must be at least 1, not {limit}"):
        datasets.load(folder, limit=limit)


def test_unknown_names_and_splits() -> None:
    with pytest.raises(
        InputError, match="fashion-mnist, cifar10, imagenet, digits, bundled.*not 'mnist'"
    ):
        datasets.load("mnist")
    with pytest.raises(InputError, match="split must be test or train, not 'val'"):
        datasets.load("digits", split="val")


def test_fashion_mnist_is_found_through_the_environment(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path_factory.mktemp("data")
    (root / "fashion-mnist").symlink_to(folder)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(root))
    dataset = datasets.load("fashion-mnist")
    assert dataset.name == "fashion-mnist"
    assert np.array_equal(dataset.images[:, 0], IMAGES)


def test_missing_fashion_mnist_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(tmp_path))
    monkeypatch.setattr("asq_hw.datasets.places.SYSTEM_DATA", tmp_path / "none")
    with pytest.raises(InputError, match="install Debian's package dataset-fashion-mnist, or set"):
        datasets.load("fashion-mnist")


def test_digits_are_split_once_and_for_all() -> None:
    pytest.importorskip("sklearn")
    from sklearn.datasets import load_digits

    train, test = datasets.load("digits", split="train"), datasets.load("digits")
    assert train.labels is not None
    assert test.labels is not None
    both = np.empty(1797, dtype=np.int64)
    both[4::5] = test.labels
    both[np.arange(1797) % 5 != 4] = train.labels
    assert np.array_equal(both, load_digits().target)
    assert int(train.images.max()) == 255
    assert np.mean(train.images / 255) == pytest.approx(train.mean, abs=5e-5)
    assert np.std(train.images / 255) == pytest.approx(train.std, abs=5e-5)


def test_the_bundled_images_are_fashion_mnists() -> None:
    dataset = datasets.load("bundled")
    assert dataset.images.shape == (1000, 1, 28, 28)
    assert dataset.labels is not None
    # Of 1,000 drawn from ten equal classes each class has 100, give or take four deviations.
    assert np.bincount(dataset.labels, minlength=10).min() > 62
    assert dataset.classes[int(dataset.labels[0])] == "Ankle boot"
    with pytest.raises(InputError, match="test split only"):
        datasets.load("bundled", split="train")


@pytest.mark.skipif(
    not (datasets.SYSTEM_DATA / "fashion-mnist").is_dir(), reason="dataset-fashion-mnist missing"
)
def test_the_bundled_images_are_the_first_of_the_system_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(datasets.DATA_VARIABLE, raising=False)
    whole, bundled = datasets.load("fashion-mnist"), datasets.load("bundled")
    assert np.array_equal(whole.images[:1000], bundled.images)
    assert whole.labels is not None
    assert bundled.labels is not None
    assert np.array_equal(whole.labels[:1000], bundled.labels)
