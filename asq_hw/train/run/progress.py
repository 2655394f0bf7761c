"""What a training run reports while it runs, and when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Progress", "Report", "TrainingResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a training run stands; reported after every batch (or some) and every epoch.

    Parameters
    ----------
    epoch, epochs : int
        The epoch in work, from 1, and their number.
    batch, batches : int
        Batches done in it, and their number.
    loss : float
        Mean training loss of the epoch so far.
    learning_rate : float
        Rate of the latest step.
    ended : bool
        Whether the epoch is over and saved.
    accuracy : float or None
        Test accuracy, on the report that ends an epoch after which it is measured.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    learning_rate: float
    ended: bool = False
    accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a finished run leaves.

    Parameters
    ----------
    best, last : Path
        Checkpoints of the most accurate epoch that was measured and of the final one.
    best_accuracy, accuracy : float
        Their test accuracies. The best epoch was chosen on the test images, so its
        accuracy is the more flattering of the two.
    seconds : float
        Wall time of this call.
    lost_channels : dict of str to int
        Of `last`, output channels whose weights all round to 0, by layer.
    """

    best: Path
    last: Path
    best_accuracy: float
    accuracy: float
    seconds: float
    lost_channels: dict[str, int]


Report = Callable[[Progress], None]
