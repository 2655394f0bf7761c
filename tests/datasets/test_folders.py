"""Folders of images: ImageNet's layout and crops, by hand; and what is missing or damaged."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from asq_hw import datasets
from asq_hw.datasets import ImageFolder, folders
from asq_hw.datasets.folders import random_box
from asq_hw.errors import InputError


def save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def flat(red: int, height: int = 12, width: int = 9) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array([red, 0, 7], dtype=np.uint8), (height, width, 3)).copy()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """ImageNet's layout: JPEG files named after their class, and a validation part."""
    for index, name in enumerate(["n01440764", "n02006656"]):
        for count in range(3 - index):
            save(tmp_path / "train" / name / f"{name}_{count}.JPEG", flat(100 * index + count))
    save(tmp_path / "val" / "n02006656" / "ILSVRC2012_val_00000001.JPEG", flat(90))
    (tmp_path / "train" / "n01440764" / "notes.txt").write_text("no image")
    (tmp_path / "train" / ".cache").mkdir()
    return tmp_path


def opened(path: Path, split: str = "test", size: int | None = None) -> ImageFolder:
    found = datasets.open_dataset(path, split=split, image_size=size)
    assert isinstance(found, ImageFolder)
    return found


def test_imagenets_layout_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = opened(folder, "train")
    assert train.classes == ("n01440764", "n02006656")
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    assert train.image_shape == (3, 224, 224)
    (folder.parent / "imagenet").symlink_to(folder)
    monkeypatch.setenv(datasets.DATA_VARIABLE, str(folder.parent))
    val = datasets.open_dataset("imagenet")
    assert val.name == "imagenet"
    assert val.labels is not None
    # Its only class is the second of those that were trained.
    assert val.labels.tolist() == [1]
    assert isinstance(val, ImageFolder)
    assert val.image(0).shape == (3, 224, 224)
    assert abs(int(val.image(0)[0, 100, 100]) - 90) <= 2  # JPEG


def test_the_center_crop_by_hand(tmp_path: Path) -> None:
    """An image whose shorter side is 64 is not scaled for a crop of 56."""
    pixels = np.random.default_rng(1).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    save(tmp_path / "val" / "a" / "x.png", pixels)
    expected = pixels[4:60, 17:73].transpose(2, 0, 1)
    assert np.array_equal(opened(tmp_path, size=56).image(0), expected)


def test_scaling_keeps_the_aspect_ratio(tmp_path: Path) -> None:
    """Of a ramp twice as wide as 256 x 448 scaled to 256, the middle 224 remain."""
    ramp = np.repeat(np.linspace(0, 255, 896).astype(np.uint8)[None, :, None], 512, axis=0)
    save(tmp_path / "val" / "a" / "x.png", np.repeat(ramp, 3, axis=2))
    row = opened(tmp_path).image(0)[0, 0].astype(int)
    assert row[0] == pytest.approx(255 * 112 / 448, abs=1)
    assert row[-1] == pytest.approx(255 * 336 / 448, abs=1)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "val" / "a" / ("x.tif" if mode == "CMYK" else "x.png")
    path.parent.mkdir(parents=True)
    Image.new(mode, (300, 300)).save(path)
    assert opened(tmp_path).image(0).shape == (3, 224, 224)


def test_random_boxes_lie_inside_and_have_the_area_and_ratio_they_should() -> None:
    rng = np.random.default_rng(1)
    areas, ratios = [], []
    for _ in range(2000):
        left, top, right, bottom = random_box((640, 480), rng, min_area=0.08)
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480
        areas.append((right - left) * (bottom - top) / (640 * 480))
        ratios.append((right - left) / (bottom - top))
    assert 0.079 < min(areas) < 0.12
    assert max(areas) > 0.9
    assert 0.73 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.36
    # Uniform in 0.08..1, a little less for the largest, which do not always fit.
    assert 0.40 < np.mean(areas) < 0.54


@pytest.mark.parametrize("size", [(1000, 3), (3, 1000), (1, 1)])
def test_extreme_images_have_a_box_too(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    left, top, right, bottom = random_box(size, rng, min_area=0.5)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert (right - left) / (bottom - top) == pytest.approx(
        min(4 / 3, max(3 / 4, size[0] / size[1])), rel=0.01
    )


def test_random_images_are_parts_and_half_of_them_are_mirrored(tmp_path: Path) -> None:
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 200, axis=0)
    save(tmp_path / "train" / "a" / "x.png", np.repeat(ramp, 3, axis=2))
    images = opened(tmp_path, "train", 16)
    mirrored = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        row = images.random_image(0, rng, min_area=0.08, flip=True)[0, 5].astype(int)
        mirrored += row[0] > row[-1]
        assert np.ptp(row) < 200
    assert 70 < mirrored < 130
    rng = np.random.default_rng(0)
    plain = [images.random_image(0, rng, min_area=0.08, flip=False) for _ in range(20)]
    assert all(int(image[0, 0, 0]) < int(image[0, 0, -1]) for image in plain)


def test_a_folder_of_classes_alone_is_for_testing(tmp_path: Path) -> None:
    save(tmp_path / "cats" / "1.png", flat(10))
    save(tmp_path / "dogs" / "1.PNG", flat(20))
    loaded = datasets.load(tmp_path, image_size=32)
    assert loaded.images.shape == (2, 3, 32, 32)
    assert loaded.images[:, 0, 0, 0].tolist() == [10, 20]
    assert loaded.classes == ("cats", "dogs")
    with pytest.raises(InputError, match="must hold train/ with a folder of images for each"):
        datasets.load(tmp_path, split="train")


def test_what_does_not_fit_in_memory_says_what_would(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asq_hw.datasets.folders._ARRAY_LIMIT", 3 * 100 * 100 * 5 - 1)
    with pytest.raises(InputError, match="holds 5 images of 100 x 100, and at most 4 fit"):
        datasets.load(folder, split="train", image_size=100)
    assert len(datasets.load(folder, split="train", image_size=8, limit=2)) == 2


@pytest.mark.parametrize("size", [-1, 0, 4097])
def test_an_image_size_is_in_a_range(folder: Path, size: int) -> None:
    with pytest.raises(InputError, match=rf"image size must be 1\.\.4096, not {size}"):
        datasets.open_dataset(folder, image_size=size)


@pytest.mark.parametrize("upright", [False, True])
def test_a_very_long_image_is_cut_before_it_is_scaled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upright: bool
) -> None:
    """Its middle is what is seen; scaled whole, it would have 256 x 15,360,000 pixels."""
    scale = folders._resized

    def scale_a_little(whole: Image.Image, width: int, height: int) -> Image.Image:
        assert width * height <= 16 * 256 * 256
        return scale(whole, width, height)

    monkeypatch.setattr(folders, "_resized", scale_a_little)
    pixels = np.zeros((1, 60_000, 3), dtype=np.uint8)
    pixels[:, 29_990:30_010] = [10, 20, 30]
    save(tmp_path / "val" / "a" / "x.png", pixels.transpose(1, 0, 2) if upright else pixels)
    image = opened(tmp_path).image(0)
    assert np.array_equal(image, np.broadcast_to(np.array([[[10]], [[20]], [[30]]]), image.shape))


def empty(folder: Path) -> None:
    for path in (folder / "train" / "n02006656").iterdir():
        path.unlink()


def unknown(folder: Path) -> None:
    save(folder / "val" / "n09999999" / "x.png", flat(1))


def no_validation(folder: Path) -> None:
    (folder / "val").rename(folder / "validation")


def no_classes(folder: Path) -> None:
    (folder / "val" / "n02006656").rename(folder / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "split", "message"),
    [
        (empty, "train", "train/n02006656 must hold at least one image .*.jpg"),
        (unknown, "test", "val must hold the classes of .*/train, not n09999999"),
        (no_validation, "test", r"must hold val/ or test/ with a folder of images for each class"),
        (no_classes, "test", "val must hold a folder of images for each class"),
    ],
)
def test_what_is_missing_is_named(
    folder: Path, damage: Callable[[Path], None], split: str, message: str
) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        datasets.open_dataset(folder, split=split)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0\0\x10JFIF\0"])
def test_a_damaged_image_is_named(folder: Path, content: bytes) -> None:
    path = folder / "val" / "n02006656" / "ILSVRC2012_val_00000001.JPEG"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"00000001.JPEG could not be read"):
        opened(folder).image(0)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("ending", [".JPEG", ".png", ".webp", ".tif", ".bmp"])
def test_a_truncated_image_is_named(tmp_path: Path, ending: str, kept: float) -> None:
    path = tmp_path / "val" / "a" / f"x{ending}"
    save(path, np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match=r"x\.\w+ could not be read"):
        opened(tmp_path).image(0)


def test_arrays_have_their_own_size(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="image size must be 28 x 28 for bundled, not 32 x 32"):
        datasets.load("bundled", image_size=32)
    with pytest.raises(InputError, match="must hold IDX files, CIFAR-10's batches, or a folder"):
        datasets.load(tmp_path)
