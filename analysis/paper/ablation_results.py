"""The rows of the ablation, and the CSV that holds a line for each finished run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write

__all__ = ["TABLE5", "WIDTHS", "Result", "Variant", "read_results", "write_results"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row of a table: what quantizes the weights and the activations, and how wide.

    Parameters
    ----------
    label : str
        As the tables print it.
    weights, activations : str
        Methods, by the names that recipes use.
    bits : int
        Width of both.
    paper_top1 : float, optional
        What the paper prints for its own ResNet-20 on CIFAR-10, in percent.
    """

    label: str
    weights: str
    activations: str
    bits: int = 4
    paper_top1: float | None = None

    @property
    def methods(self) -> str:
        """Both methods, activations first, in letters that any file's name can have."""
        return f"{self.activations}-{self.weights}".replace("+", "-plus")

    @property
    def key(self) -> str:
        """Short name, of files and in the CSV."""
        if self.weights == self.activations == "none":
            return "real-valued"
        return f"{self.methods}-w{self.bits}a{self.bits}"

    def overrides(self, seed: int) -> dict[str, object]:
        """What this row replaces in the recipe that all rows share."""
        return {
            "name": f"ablation-{self.key}-seed{seed}",
            "weights": self.weights,
            "activations": self.activations,
            "weight_bits": self.bits,
            "activation_bits": self.bits,
            "seed": seed,
        }


TABLE5 = (
    Variant(label="LSQ (baseline)", weights="lsq", activations="lsq", paper_top1=92.4),
    Variant(label="POT weights", weights="pot", activations="lsq", paper_top1=92.5),
    Variant(label="POST weights", weights="post", activations="lsq", paper_top1=92.7),
    Variant(label="ASQ activations (scheme 1)", weights="lsq", activations="asq", paper_top1=92.8),
    Variant(label="both (scheme 2)", weights="post", activations="asq", paper_top1=93.0),
    Variant(label="real-valued", weights="none", activations="none", paper_top1=92.6),
)
"""The paper's six rows, at 4 bits, in its order."""

WIDTHS = (
    Variant(label="LSQ", weights="lsq", activations="lsq", bits=2),
    Variant(label="scheme 1", weights="lsq", activations="asq", bits=2),
    Variant(label="LSQ", weights="lsq", activations="lsq", bits=3),
    Variant(label="scheme 1", weights="lsq", activations="asq", bits=3),
    Variant(label="scheme 2", weights="post", activations="asq", bits=3),
    Variant(label="LSQ", weights="lsq", activations="lsq", bits=8),
    Variant(label="scheme 1", weights="lsq", activations="asq", bits=8),
)
"""The two schemes at their other widths, and LSQ to compare with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One finished run, a line of the CSV.

    Parameters
    ----------
    variant : str
        `Variant.key`.
    seed : int
        Of the start, the order of the images and their augmentation.
    correct, images : int
        Test images classified right after the last epoch, and all of them.
    start_correct : int
        The same of the floating-point network that the run started from.
    width, training_images, epochs, batch_size, learning_rate
        Of the recipe; the same in every line.
    """

    variant: str
    seed: int
    correct: int
    images: int
    start_correct: int
    width: int
    training_images: int
    epochs: int
    batch_size: int
    learning_rate: float

    @property
    def top1(self) -> float:
        """Share of the test images classified right, in percent."""
        return 100 * self.correct / self.images

    @property
    def setting(self) -> tuple[float, ...]:
        """What all results of a table must share."""
        counts = (self.images, self.width, self.training_images, self.epochs, self.batch_size)
        return (*counts, self.learning_rate)


_READERS = {"str": str, "int": int, "float": float}


def read_results(path: str | Path) -> list[Result]:
    """Read the CSV of an ablation.

    Raises
    ------
    InputError
        If it cannot be read, a column is missing, a value is no number, or lines disagree on the
        setting.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"results {path} could not be read: {error}") from None
    results = []
    for number, line in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            values = {f.name: _READERS[str(f.type)](line[f.name]) for f in fields(Result)}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"line {number} of {path} is not a result: {error}") from None
        results.append(Result(**values))
    if len({result.setting for result in results}) > 1:
        raise InputError(f"the lines of {path} must be of one setting, not of several")
    return results


def write_results(path: str | Path, results: Iterable[Result]) -> None:
    """Write the CSV of an ablation, all or nothing."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Result)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(result) for result in results)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())
