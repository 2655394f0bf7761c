"""Tools that work side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from asq_hw.errors import check_range

__all__ = ["side_by_side"]

Made = TypeVar("Made")


def side_by_side(
    one: Callable[[int], Made],
    count: int,
    *,
    jobs: int | None,
    progress: Callable[[int], None] | None,
) -> list[Made]:
    """What ``one(0)`` to ``one(count - 1)`` make, in this order.

    Threads, not processes: each only waits for the tools that it started.

    Parameters
    ----------
    one : callable
        What is done for each number.
    count : int
        How many there are.
    jobs : int or None
        How many run at once, 1 to 256; None for as many as there are processors.
    progress : callable or None
        Called with the number of those that are done.

    Raises
    ------
    InputError
        If `jobs` is out of range. What one of them raises ends the others.
    """
    workers = os.cpu_count() or 1 if jobs is None else jobs
    check_range("jobs", workers, 1, 256)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        runs = [pool.submit(one, place) for place in range(count)]
        try:
            for done, run in enumerate(as_completed(runs), start=1):
                run.result()  # what failed ends the others
                if progress is not None:
                    progress(done)
            return [run.result() for run in runs]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
