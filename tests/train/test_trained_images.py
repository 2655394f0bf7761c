"""Networks of somebody's own images: trained, exported, simulated; and what is refused at once."""

from __future__ import annotations

import io
import json
import struct
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asq_hw import datasets, modelfile
from asq_hw.cli import main
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.data.trained_images import images_of, open_as_trained, training_data
from asq_hw.train.export.network import network_name
from asq_hw.train.run.training import train

COLORS = {"chat noir": (200, 40, 40), "\u00e9t\u00e9": (40, 200, 40), "z\u00e8bre": (40, 40, 200)}
SETTINGS = (
    *("--set", "image_size=16", "--set", "epochs=3", "--set", "batch_size=24"),
    *("--set", "crop_padding=0", "--set", "freeze_bn_epochs=0", "--set", "width=8"),
    *("--set", "learning_rate=0.05", "--set", "name=2bit net \u00e9"),
)


def run_program(*arguments: str, status: int = 0) -> str:
    """What a command prints: on standard output, or where it fails on standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        assert main(list(arguments)) == status, errors.getvalue()
    return errors.getvalue() if status else output.getvalue()


def color_folder(root: Path) -> Path:
    """Three classes of noisy colors, 40 images each for training and 12 for testing."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("val", 12)):
        for name, color in COLORS.items():
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                noisy = np.clip(color + rng.normal(0, 40, (20, 24, 3)), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(root / part / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network and its model file; blanks and accents everywhere."""
    root = tmp_path_factory.mktemp("own") / "d\u00e9j\u00e0 vu"
    data = color_folder(root / "mes images")
    run_program(
        *("train", "--recipe", "digits-asq-post-w4a4", "--set", f"dataset={data}"),
        *(*SETTINGS, "-o", str(root / "run 1")),
    )
    run_program(
        *("export", str(root / "run 1" / "last.pt"), "-o", str(root / "net 1.asq")),
        *("--calibration-images", "6", "--reference", str(data)),
    )
    return root


def simulated(model: Path, data: Path, *more: str) -> dict[str, object]:
    text = run_program("simulate", str(model), "--data", str(data), *more, "--format", "json")
    document: dict[str, object] = json.loads(text)
    return document


def test_a_network_of_ones_own_images_goes_all_the_way(own: Path) -> None:
    found = simulated(own / "net 1.asq", own / "mes images")
    assert (found["images"], found["top1"], found["agreement"]) == (36, 1.0, 1.0)
    network = modelfile.load(own / "net 1.asq")
    assert network.name == "_2bit_net_"
    assert network.metadata["recipe"] == "2bit net \u00e9"
    assert network.image_shape == (3, 16, 16)
    assert network.classes == tuple(sorted(COLORS))
    assert network.images is not None
    assert (network.images.mean, network.images.std) == (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )


def test_two_of_three_classes_are_told_by_their_names(own: Path, tmp_path: Path) -> None:
    for name in list(COLORS)[1:]:
        (own / "mes images" / "val" / name).rename(tmp_path / name)
    try:
        found = simulated(own / "net 1.asq", tmp_path)
        assert (found["images"], found["top1"], found["agreement"]) == (24, 1.0, None)
        text = run_program(
            "eval", str(own / "run 1" / "last.pt"), "--data", str(tmp_path), "--format", "json"
        )
        assert json.loads(text)["top1"] == 1.0
    finally:
        for name in list(COLORS)[1:]:
            (tmp_path / name).rename(own / "mes images" / "val" / name)


def test_a_limit_takes_of_every_class(own: Path) -> None:
    found = simulated(own / "net 1.asq", own / "mes images", "--limit", "6")
    assert (found["images"], found["top1"], found["agreement"]) == (6, 1.0, 1.0)
    chosen = datasets.load(own / "mes images", limit=6, shape=(3, 16, 16))
    assert chosen.labels is not None
    assert np.bincount(chosen.labels).tolist() == [2, 2, 2]


def test_few_calibration_images_saturate_no_input(own: Path) -> None:
    """Of six images none has a pixel of 0 and of 255 in every channel; the format has room."""
    layers = simulated(own / "net 1.asq", own / "mes images")["layers"]
    assert isinstance(layers, list)
    assert layers[0]["saturated"] == 0
    network: IntegerNetwork = modelfile.load(own / "net 1.asq")
    spec = network.images
    assert spec is not None
    largest = max((1 - mean) / std for mean, std in zip(spec.mean, spec.std, strict=True))
    assert largest * 2.0**network.input.output.fraction_bits < 2 ** (network.input.output.bits - 1)


def test_an_unknown_class_is_named(own: Path, tmp_path: Path) -> None:
    (tmp_path / "fox").mkdir()
    Image.new("RGB", (16, 16)).save(tmp_path / "fox" / "1.png")
    for command in (("simulate", str(own / "net 1.asq")), ("eval", str(own / "run 1" / "last.pt"))):
        text = run_program(*command, "--data", str(tmp_path), status=2)
        assert text.endswith(
            "that the network was trained on (chat noir, z\u00e8bre, \u00e9t\u00e9), not 'fox'\n"
        )


def test_a_changed_folder_is_not_trained_on(own: Path) -> None:
    data = own / "mes images"
    for part in ("train", "val"):
        (data / part / "chat noir").rename(data / part / "chat")
    try:
        recipe = checkpoints.load(own / "run 1" / "last.pt").recipe
        with pytest.raises(InputError, match="on other images or classes than .* holds now"):
            train(recipe, output=own / "run 1", resume=True)
    finally:
        for part in ("train", "val"):
            (data / part / "chat").rename(data / part / "chat noir")


# IDX files: no names, no mean and deviation


def write_idx(folder: Path, stem: str, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    (folder / stem).write_bytes(header + array.astype(np.uint8).tobytes())


def test_idx_files_are_seen_as_the_network_was_trained(tmp_path: Path) -> None:
    for split, prefix in (("train", "train"), ("test", "t10k")):
        digits = datasets.load("digits", split=split)
        assert digits.labels is not None
        write_idx(tmp_path, f"{prefix}-images-idx3-ubyte", digits.images[:, 0])
        write_idx(tmp_path, f"{prefix}-labels-idx1-ubyte", digits.labels)
    recipe = recipes.load("digits-float")
    by_name, spec = datasets.load("digits"), training_data(recipe)[2]
    found = open_as_trained(str(tmp_path), spec)
    assert (found.mean, found.std) == ((by_name.mean,), (by_name.std,))
    assert found.classes == by_name.classes
    assert isinstance(found, datasets.Dataset)
    assert np.array_equal(found.images, by_name.images)


def test_ones_own_idx_files_are_normalized_by_their_own_training_images(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    parts = {"train": rng.integers(0, 50, (40, 8, 8)), "t10k": rng.integers(90, 256, (10, 8, 8))}
    for prefix, pixels in parts.items():
        write_idx(data, f"{prefix}-images-idx3-ubyte", pixels)
        write_idx(data, f"{prefix}-labels-idx1-ubyte", np.arange(len(pixels)) % 10)
    recipe = recipes.load(
        "digits-float",
        {"dataset": str(data), "training_images": 20, "epochs": 1, "batch_size": 10},
    )
    training, test, spec = training_data(recipe)
    own = parts["train"] / 255
    assert spec.mean == pytest.approx((own.mean(),), rel=1e-12)
    assert spec.std == pytest.approx((own.std(),), rel=1e-12)
    assert len(training) == 20
    for part in (training, test, open_as_trained(str(data), spec)):
        assert datasets.image_spec(part).mean == spec.mean
        assert datasets.image_spec(part).std == spec.std
    # It is kept with the network; a file that does not tell was trained with other numbers.
    checkpoint = checkpoints.load(train(recipe, output=tmp_path / "run").last)
    assert images_of(checkpoint) == spec
    untold = images_of(replace(checkpoint, images=None))
    assert untold == replace(spec, mean=(0.286,), std=(0.353,))


def test_idx_files_of_one_gray_cannot_be_normalized(tmp_path: Path) -> None:
    write_idx(tmp_path, "train-images-idx3-ubyte", np.full((10, 8, 8), 7))
    write_idx(tmp_path, "train-labels-idx1-ubyte", np.arange(10))
    with pytest.raises(InputError, match="more than one level of gray"):
        datasets.load(str(tmp_path), split="train")


# Checkpoints


def test_checkpoints_that_do_not_tell_ask_their_data_set(own: Path, tmp_path: Path) -> None:
    path = own / "run 1" / "last.pt"
    saved = checkpoints.load(path)
    assert saved.images is not None
    old = checkpoints.Checkpoint(
        recipe=saved.recipe,
        in_channels=3,
        num_classes=3,
        epoch=saved.epoch,
        accuracy=saved.accuracy,
        weights=saved.weights,
    )
    checkpoints.save(tmp_path / "old.pt", old)
    assert checkpoints.load(tmp_path / "old.pt").images is None
    assert images_of(old) == saved.images
    gone = recipes.from_dict(saved.recipe.to_dict() | {"dataset": str(tmp_path / "gone")})
    with pytest.raises(InputError, match="does not tell which images it takes, and its data set"):
        images_of(checkpoints.Checkpoint(**{**fields(old), "recipe": gone}))


def fields(checkpoint: checkpoints.Checkpoint) -> dict[str, object]:
    return {name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__}


# What would be refused after the training is refused before it


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight_bits": 8}, r"8-bit post weights span 2\*\*63; at most 2\*\*31"),
        ({"weights": "pot", "weight_bits": 7}, r"7-bit pot weights span 2\*\*62; at most 2\*\*31"),
    ],
)
def test_what_export_refuses_is_not_trained(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    recipe = recipes.load("digits-asq-post-w4a4", changes | {"width": 8, "epochs": 1})
    with pytest.raises(InputError, match=f"could not be exported once it is trained: .*{message}"):
        train(recipe, output=tmp_path / "run")
    assert not (tmp_path / "run" / "last.pt").exists()


def test_a_file_too_large_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asq_hw.modelfile.file.MAX_SMALL_ELEMENTS", 100)
    recipe = recipes.load("digits-asq-post-w4a4", {"width": 8, "epochs": 1})
    with pytest.raises(InputError, match="elements; at most 100 are read"):
        train(recipe, output=tmp_path)


def test_the_check_changes_nothing_of_the_training(tmp_path: Path) -> None:
    recipe = recipes.load("digits-asq-post-w4a4", {"width": 8, "epochs": 1, "freeze_bn_epochs": 0})
    for name, check in (("a", True), ("b", False)):
        train(recipe, output=tmp_path / name, must_export=check)
    first, second = (checkpoints.load(tmp_path / name / "last.pt").weights for name in ("a", "b"))
    assert all(np.array_equal(first[key], second[key]) for key in second)


@pytest.mark.parametrize(
    ("weights", "activations", "expected"),
    [
        ("post", "asq", []),
        ("none", "none", []),
        ("lq-net", "asq", ["weights lq-net"]),
        ("post", "none", ["activations none"]),
        ("none", "qil", ["weights none", "activations qil"]),
    ],
)
def test_methods_without_integers_are_named(
    weights: str, activations: str, expected: list[str]
) -> None:
    changes = {"weights": weights, "activations": activations}
    assert recipes.load("digits-asq-post-w4a4", changes).without_integers == expected


def test_training_images_must_hold_every_class(tmp_path: Path) -> None:
    labels = np.repeat(np.arange(3, dtype=np.uint8), 8)
    for prefix in ("train", "t10k"):
        write_idx(
            tmp_path, f"{prefix}-images-idx3-ubyte", np.arange(24 * 64).reshape(24, 8, 8) % 256
        )
        write_idx(tmp_path, f"{prefix}-labels-idx1-ubyte", labels)
    changes = {"dataset": str(tmp_path), "training_images": 16}
    with pytest.raises(InputError, match="more than 16 for .*: class 2 is not among the first"):
        training_data(recipes.load("digits-float", changes))


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("digits-asq-post-w4a4", "digits_asq_post_w4a4"),
        ("2bit net", "_2bit_net"),
        ("..\u00e9", "_"),
        ("a..b.", "a.b"),
        ("\u00e9" * 3, "_"),
        (".", "network"),
        ("x" * 100, "x" * 64),
        ("3" * 100, "_" + "3" * 63),
    ],
)
def test_any_recipe_name_gives_a_networks_name(recipe: str, expected: str) -> None:
    assert network_name(recipe) == expected
