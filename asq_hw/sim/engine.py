"""simulate: run images through an integer network, bit by bit as docs/arithmetic.md says."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asq_hw.compiler import compile_aside
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim.budget import Budget
from asq_hw.sim.instruction_sets import AUTO
from asq_hw.sim.kernel_choice import choose_kernel
from asq_hw.sim.kernels.interpreter import Batch, interpreter
from asq_hw.sim.limits import DEFAULT_BATCH_SIZE, MAX_BATCH_SIZE, MAX_THREADS
from asq_hw.sim.lowering.memory_plan import allocate, memory_bytes
from asq_hw.sim.lowering.network import lower
from asq_hw.sim.program import Memory, Statistic
from asq_hw.sim.results import SimulationResult, output_bytes, output_values
from asq_hw.sim.statistics import empty_statistics, summarize
from asq_hw.sim.tensors import TraceBatch, read_batch

__all__ = ["Run", "check_counts", "check_images", "simulate"]

Images = NDArray[np.integer[Any]]
_TRACE_BYTES = 1 << 26
"""Most memory for the tensors of a traced batch; each thread has a few batches."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    """A batch's results."""

    start: int
    stop: int
    trace: TraceBatch | None


def simulate(
    network: IntegerNetwork,
    images: Images,
    *,
    product: Product | None = None,
    threads: int | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    trace: Callable[[TraceBatch], None] | None = None,
    progress: Callable[[int], None] | None = None,
    kernel: str = AUTO,
    memory_limit: int | None = None,
) -> SimulationResult:
    """Run images (N, C, H, W) through `network`; the result is the same bits everywhere.

    Parameters
    ----------
    network : IntegerNetwork
        What is run.
    images : integer array
        uint8 of shape (N, C, H, W), or the integers that the network's input takes; a network of
        vectors takes (N, C) too.
    product : Product
        How products with the square root of two are computed; by default as it was trained.
    threads : int
        Threads that compute; by default as many as the processors this process may use.
    batch_size : int
        Images that a thread computes between two calls of `progress`; fewer where a trace of so
        many would take much memory.
    trace : callable
        Is given every intermediate tensor of every batch, in order.
    progress : callable
        Is given the number of images done so far.
    kernel : str
        ``auto``, or the name of one of `asq_hw.sim.instruction_sets.Kernel`.
    memory_limit : int
        Bytes that the network, its tables and all threads may take; by default
        `asq_hw.sim.budget.default_memory_limit`.

    Raises
    ------
    InputError
        If the images do not fit the network, an argument is out of range, the chosen product
        could overflow 64 bits, or more memory would be taken than the limit; it is not taken.

    Examples
    --------
    >>> import numpy as np
    >>> from asq_hw.conformance.builders import input_layer, network
    >>> from asq_hw.network.layers import GlobalAveragePool
    >>> mean = GlobalAveragePool(name="scores", source="input", multiplier=1, shift=2)
    >>> net = network("mean", input_layer(2, 2), mean)
    >>> images = np.array([[[[1, 2], [3, 5]]]], dtype=np.uint8)
    >>> simulate(net, images).scores.tolist()  # 11 / 4, to the nearest
    [[3]]
    """
    product = network.trained_product if product is None else product
    images = check_images(network, images)
    check_counts(1 if threads is None else threads, batch_size)
    work = Run(
        network,
        images,
        product=product,
        kernel=kernel,
        keep=trace is not None,
        memory_limit=memory_limit,
    )
    threads = work.fitting_threads(threads, batch_size)
    work.warm_up()
    start = time.perf_counter()
    with closing(work.run(threads, batch_size)) as batches:
        for batch in batches:
            if trace is not None and batch.trace is not None:
                trace(batch.trace)
            if progress is not None:
                progress(batch.stop)
    seconds = time.perf_counter() - start
    return SimulationResult(
        outputs=output_values(network, work.results),
        layers=summarize(network, product, work.counts),
        seconds=seconds,
    )


class Run:
    """One run's arrays; batches write to rows of their own, so threads share nothing else.

    Parameters
    ----------
    network : IntegerNetwork
        What is run.
    images : (N, C, H, W) array
        On what: what `check_images` makes.
    product : Product
        How weights with the square root of two are multiplied.
    kernel : str
        Instruction set, or ``auto``.
    keep : bool
        Whether every tensor is kept for a trace.
    memory_limit : int, optional
        Bytes; None: what the machine has.
    """

    def __init__(
        self,
        network: IntegerNetwork,
        images: Images,
        *,
        product: Product,
        kernel: str,
        keep: bool = False,
        memory_limit: int | None = None,
    ) -> None:
        network.check_product(product)
        chosen = choose_kernel(kernel)
        self.network, self.product, self.keep = network, product, keep
        self.budget = Budget(network, memory_limit)
        self.plan = lower(network, product, kernel=chosen, keep=keep, budget=self.budget)
        maps, places = network.feature_maps(), self.plan.layout.maps
        given = [(places[output.layer], maps[output.layer].size) for output in network.outputs]
        self.outputs = np.array(given, dtype=np.int64)
        self.form = chosen.form
        self.interpret = interpreter()
        self._take(images)

    def _take(self, images: Images) -> None:
        self.budget.check(self.plan.taken_bytes + self._result_bytes(len(images)))
        self.images = np.ascontiguousarray(images).view(np.uint8)
        self.results = np.zeros((len(images), int(self.outputs[:, 1].sum())), dtype=np.int32)
        self.counts = empty_statistics(len(images), len(self.network.layers))

    def _result_bytes(self, images: int) -> int:
        """Bytes of outputs and statistics."""
        statistics = 8 * len(Statistic) * len(self.network.layers)
        return images * (output_bytes(self.network) + statistics)

    def fitting_threads(self, threads: int | None, batch_size: int) -> int:
        """How many threads work, each in its own memory.

        Raises
        ------
        InputError
            If so many were asked for that their memory is beyond the limit. Without a wish, it
            is as many as there are processors and as have memory.
        """
        wanted = _default_threads() if threads is None else threads
        wanted = min(wanted, -(-len(self.images) // self._rows(batch_size)))
        shared = self.plan.taken_bytes + self._result_bytes(len(self.images))
        each = memory_bytes(self.plan.layout, self._rows(batch_size) if self.keep else 1)
        if threads is None:
            wanted = max(1, min(wanted, (self.budget.limit - shared) // each))
        self.budget.check(shared + wanted * each)
        return wanted

    def _rows(self, batch_size: int) -> int:
        """Images in a batch: fewer where each leaves much behind."""
        if not self.keep:
            return batch_size
        return min(batch_size, max(_TRACE_BYTES // self.plan.layout.kept_bytes, 1))

    def on(self, images: Images) -> Run:
        """A run of the same plan on other images."""
        run = copy.copy(self)
        run._take(images)
        return run

    def warm_up(self) -> None:
        """Compile, or load what an earlier process compiled, without computing anything."""
        compile_aside(lambda: self.compute(self.memory(1), 0, 0))

    def memory(self, rows: int) -> Memory:
        """Make what one thread works in; `rows` is 1 but where intermediate tensors are kept."""
        return allocate(self.plan.layout, rows)

    def compute(self, memory: Memory, start: int, stop: int, steps: slice = slice(None)) -> None:
        """Run the program, or some of its steps, on the images ``start .. stop - 1``.

        Parameters
        ----------
        memory : Memory
            The thread's arrays.
        start, stop : int
            The first image, and the one behind the last.
        steps : slice
            Which of the program's steps.
        """
        program = self.plan.program
        batch = Batch(
            images=self.images[start:stop],
            outputs=self.outputs,
            results=self.results[start:stop],
            statistics=self.counts[start:stop],
            keep=self.keep,
        )
        self.interpret(program._replace(steps=program.steps[steps]), memory, batch, self.form)

    def run(self, threads: int, batch_size: int) -> Generator[_Batch, None, None]:
        """Compute all batches and yield them in order; interrupted, stop soon."""
        batch_size = self._rows(batch_size)
        spans = [
            (start, min(start + batch_size, len(self.images)))
            for start in range(0, len(self.images), batch_size)
        ]
        threads = min(threads, len(spans))
        free: SimpleQueue[Memory] = SimpleQueue()
        stop_flag = np.zeros(1, dtype=np.uint8)
        for _ in range(threads):
            memory = self.memory(batch_size if self.keep else 1)
            free.put(memory._replace(stop=stop_flag))
        pool = ThreadPoolExecutor(threads)
        try:
            # A few batches ahead of the reader, so that a slow one does not fill the memory.
            waiting: list[Future[_Batch]] = []
            for start, stop in spans:
                waiting.append(pool.submit(self._run_batch, free, start, stop))
                if len(waiting) >= 2 * threads:
                    yield waiting.pop(0).result()
            for future in waiting:
                yield future.result()
        finally:
            stop_flag[0] = 1
            pool.shutdown(cancel_futures=True)

    def _run_batch(self, free: SimpleQueue[Memory], start: int, stop: int) -> _Batch:
        memory = free.get()
        try:
            self.compute(memory, start, stop)
            trace = self._read_batch(memory, start, stop) if self.keep else None
            return _Batch(start=start, stop=stop, trace=trace)
        finally:
            free.put(memory)

    def _read_batch(self, memory: Memory, start: int, stop: int) -> TraceBatch:
        counts = self.counts[start:stop]
        return read_batch(self.network, self.product, self.plan.layout, memory, start, counts)


def _default_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_images(network: IntegerNetwork, images: Images) -> Images:
    """Images as the kernels take them: (N, C, H, W), of the type of the network's input.

    Raises
    ------
    InputError
        If they are not what `network` takes, or there is none.
    """
    layer = network.input
    taken = layer.integers
    if not isinstance(images, np.ndarray) or (
        taken.dtype == np.uint8 and taken.bits == 8 and images.dtype != np.uint8
    ):
        kind = getattr(images, "dtype", type(images).__name__)
        raise InputError(f"images must be a {taken.dtype} array, not {kind}")
    if images.ndim == 2 and layer.shape[1:] == (1, 1):
        images = images[:, :, None, None]
    if images.ndim != 4 or images.shape[1:] != layer.shape:
        wanted = ", ".join(map(str, layer.shape))
        raise InputError(f"images must be (N, {wanted}), not {images.shape}")
    if len(images) == 0:
        raise InputError("there must be at least one image, not 0")
    return taken.checked(images)


def check_counts(threads: int, batch_size: int) -> None:
    """Raise InputError unless both are integers of at least 1, and few threads or images."""
    limits = {"threads": (threads, MAX_THREADS), "batch size": (batch_size, MAX_BATCH_SIZE)}
    for name, (value, most) in limits.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise InputError(f"{name} must be an integer in 1..{most}, not {value!r}")
