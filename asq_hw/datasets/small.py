"""The images that come with a package: scikit-learn's digits, and those that ship with us."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from asq_hw.datasets.dataset import Dataset
from asq_hw.datasets.idx import like_fashion_mnist
from asq_hw.errors import InputError

__all__ = ["load_bundled", "load_digits"]


def load_digits(split: str) -> Dataset:
    """Scikit-learn's 1,797 digits of 8 x 8; every fifth one is for testing."""
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError(
            "dataset digits needs scikit-learn: install it with pip install scikit-learn"
        ) from None
    digits = datasets.load_digits()
    for_test = np.arange(len(digits.target)) % 5 == 4
    chosen = for_test if split == "test" else ~for_test
    # Stored as 0..16; spread over the 8 bits that every other dataset uses.
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Dataset(
        name="digits",
        images=pixels[chosen][:, np.newaxis],
        labels=digits.target[chosen].astype(np.int64),
        classes=tuple(str(digit) for digit in range(10)),
        # Of the training part, as pixel / 255.
        mean=0.3059,
        std=0.3763,
    )


def load_bundled(split: str) -> Dataset:
    """Load the first 1,000 test images of Fashion-MNIST, packaged with their license."""
    if split != "test":
        raise InputError(f"dataset bundled has a test split only, not {split!r}")
    resource = files("asq_hw").joinpath("bundled", "fashion-mnist-1000.npz")
    with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        images, labels = archive["images"], archive["labels"]
    return like_fashion_mnist("bundled", images, labels.astype(np.int64))
