"""Data sets as a network takes them: labels by the names of classes, references by content."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asq_hw import datasets
from asq_hw.datasets import Dataset, ImageFolder, find_reference, fitted, reference_name
from asq_hw.errors import InputError
from asq_hw.network.images import ImageSpec

CLASSES = ("cat", "dog", "owl")


def named(classes: tuple[str, ...], labels: list[int]) -> Dataset:
    images = np.arange(len(labels) * 4, dtype=np.uint8).reshape(-1, 1, 2, 2)
    return Dataset(
        name="given", images=images, labels=np.array(labels), classes=classes, mean=0.5, std=0.25
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two of the classes, out of order, with images whose level is the class's."""
    for level, name in ((40, "owl"), (200, "cat")):
        place = tmp_path / "own data" / name
        place.mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (20, 16), (level,) * 3).save(place / f"{index}.png")
    return tmp_path / "own data"


def test_labels_are_places_in_the_networks_classes() -> None:
    found = fitted(named(("owl", "cat"), [0, 1, 0]), (1, 2, 2), CLASSES)
    assert found.labels is not None
    assert found.labels.tolist() == [2, 0, 2]
    assert found.classes == CLASSES


def test_labels_without_names_are_places_already() -> None:
    found = fitted(named((), [2, 1, 0]), (1, 2, 2), CLASSES)
    assert found.labels is not None
    assert found.labels.tolist() == [2, 1, 0]
    assert found.classes == CLASSES
    with pytest.raises(InputError, match=r"labels 0\.\.2, as the network has 3 classes, not 3"):
        fitted(named((), [0, 3]), (1, 2, 2), CLASSES)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"was trained on \(cat, dog, owl\), not 'fox'"):
        fitted(named(("cat", "fox"), [0, 0]), (1, 2, 2), CLASSES)


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(InputError, match="images of 1 x 2 x 3, as the network takes them, not 1 x"):
        fitted(named(CLASSES, [0]), (1, 2, 3), CLASSES)


@pytest.mark.parametrize("channels", [1, 3])
def test_folders_are_read_at_the_networks_size(folder: Path, channels: int) -> None:
    shape = (channels, 12, 12)
    dataset = datasets.load(folder, shape=shape, classes=CLASSES)
    assert dataset.image_shape == shape
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 0, 2, 2, 2]
    assert np.unique(dataset.images[:3]).tolist() == [200]
    assert np.unique(dataset.images[3:]).tolist() == [40]


def test_a_limited_folder_holds_every_class(folder: Path) -> None:
    dataset = datasets.load(folder, limit=2, shape=(3, 12, 12), classes=CLASSES)
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("shape", "message"),
    [((3, 8, 9), "are cut to squares, and the network takes 8 x 9"), ((2, 8, 8), "1 or 3 chan")],
)
def test_what_a_folder_cannot_be_read_as(
    folder: Path, shape: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        datasets.open_dataset(folder, shape=shape)


def test_a_folder_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    whole = datasets.open_dataset(folder)
    assert isinstance(whole, ImageFolder)
    name = reference_name(whole)
    assert name.startswith("own_data-")
    kept = {"digits": "no", name: "yes"}
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert find_reference(kept, datasets.open_dataset(moved)) == "yes"
    (moved / "cat" / "2.png").rename(moved / "cat" / "3.png")
    assert find_reference(kept, datasets.open_dataset(moved)) is None
    (moved / "cat" / "3.png").rename(moved / "cat" / "2.png")
    (moved / "cat" / "2.png").write_bytes(b"longer than it was" * 100)
    assert find_reference(kept, datasets.open_dataset(moved)) is None


def test_arrays_are_known_by_their_pixels() -> None:
    first, second = named(CLASSES, [0, 1]), named(CLASSES, [1, 1])
    other = named(CLASSES, [0, 1, 2])
    assert reference_name(first) == reference_name(second)
    assert find_reference({reference_name(first): 1}, second) == 1
    assert find_reference({reference_name(first): 1}, other) is None
    turned = replace(first, images=first.images.reshape(2, 1, 4, 1))
    assert reference_name(turned) != reference_name(first)


def test_data_sets_with_a_name_keep_it() -> None:
    assert reference_name(datasets.load("bundled", limit=5)) == "bundled"


def test_what_a_network_takes_that_is_trained_on_it() -> None:
    color = Dataset(
        name="x",
        images=np.zeros((2, 3, 4, 5), dtype=np.uint8),
        labels=None,
        classes=("a", "b"),
        mean=0.5,
        std=(0.1, 0.2, 0.3),
    )
    spec = ImageSpec(shape=(3, 4, 5), mean=(0.5, 0.5, 0.5), std=(0.1, 0.2, 0.3), classes=("a", "b"))
    assert datasets.image_spec(color) == spec
    assert datasets.image_spec(named((), [4, 0])).classes == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": (1, 0, 2)}, r"must be \(C, H, W\), each at least 1, not \(1, 0, 2\)"),
        ({"mean": (float("nan"),)}, "mean must be finite and at most 1e\\+06, not nan"),
        ({"std": (0.0,)}, "std must be at least 1e-06, not 0.0"),
        ({"std": ()}, "std must hold one number for each of 1 channels, not 0"),
        ({"classes": ("a", "a")}, "must be used once, not twice: 'a'"),
        ({"classes": ("a", "\x1b[31m")}, "must be 1..200 printable characters"),
    ],
)
def test_what_no_network_takes(change: dict[str, object], message: str) -> None:
    values = {"shape": (1, 2, 2), "mean": (0.5,), "std": (0.25,), "classes": ()} | change
    with pytest.raises(InputError, match=message):
        ImageSpec(**values)  # type: ignore[arg-type]
