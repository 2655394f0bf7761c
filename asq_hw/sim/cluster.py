"""simulate over the processes of a Dask cluster: the same bits as on one machine.

The network goes once to every worker, also to those that join later or come back. Images go out in
chunks, a few ahead of what the workers compute; a chunk whose worker is lost goes to another. What
comes back is a few integers for each image, so the totals know nothing of who computed what.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from threading import Thread
from typing import Any
from uuid import uuid4

import dask
import numpy as np
from distributed import (
    CancelledError,
    Client,
    Future,
    KilledWorker,
    LocalCluster,
    Security,
    WorkerPlugin,
    as_completed,
    get_worker,
)
from numpy.typing import NDArray

import asq_hw
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product
from asq_hw.sim.engine import Images, Run, check_counts, check_images
from asq_hw.sim.instruction_sets import AUTO
from asq_hw.sim.limits import DEFAULT_BATCH_SIZE
from asq_hw.sim.results import SimulationResult, output_values
from asq_hw.sim.statistics import empty_statistics, summarize

__all__ = ["simulate"]

_LOCAL = "local:"
_MOST_LOCAL_WORKERS = 256
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?[^\s/:]+:[0-9]{1,5}")
_ENCRYPTED = ("tls://", "wss://")
_CONNECT_SECONDS = 5
_WORKER_SECONDS = 60
_CLOSE_SECONDS = 1
_WORKER_PROCESS = "Dask Worker process"
"""What Dask calls the processes of local workers."""
_CHUNK_BYTES = 4 << 20
"""Most bytes of images in a chunk; they travel inside its task."""
_AHEAD = 3
"""Chunks that run or wait, for each thread of the cluster."""
_QUIET = {
    # Of workers that this process starts; what goes wrong is told by an exception.
    "distributed.nanny.pre-spawn-environ.DASK_LOGGING__DISTRIBUTED": "critical",
    "distributed.admin.large-graph-warning-threshold": "1GiB",
}
_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
"""Of Dask and what it stands on; they complain of what an interrupted run leaves undone."""


def simulate(
    network: IntegerNetwork,
    images: Images,
    *,
    cluster: str,
    product: Product | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
    kernel: str = AUTO,
    memory_limit: int | None = None,
) -> SimulationResult:
    """Run images (N, C, H, W) through `network` on a Dask cluster.

    A script that calls this with ``local:N`` must guard its main part by
    ``if __name__ == "__main__"``, since each worker imports it.

    Parameters
    ----------
    cluster : str
        Address of a Dask scheduler, such as ``tcp://10.0.0.5:8786``, whose workers have the same
        version of asq-hw; or ``local:N`` for N processes of one thread on this machine, which end
        with the run.
    product, kernel, memory_limit : Product, str, int
        As in `asq_hw.sim.simulate`; the limit holds for each worker.
    batch_size : int
        Images in a chunk; fewer where they are large.
    progress : callable
        Is given the number of images done so far.

    Raises
    ------
    InputError
        As `asq_hw.sim.simulate` does; or if `cluster` is no such address, nothing answers there, or
        its workers cannot run this version.
    ConnectionError
        If the cluster goes away, or a chunk loses its worker again and again.
    """
    product = network.trained_product if product is None else product
    images = check_images(network, images)
    check_counts(1, batch_size)
    network.check_product(product)
    results: NDArray[np.int32] | None = None
    counts = empty_statistics(len(images), len(network.layers))
    done = 0
    plugin = _Simulator(network, product, kernel, memory_limit)
    with _quiet(), _connect(cluster) as client, _sent(client, plugin):
        start = time.perf_counter()
        for chunk in _compute(client, plugin.name, images, batch_size):
            if results is None:
                results = np.zeros((len(images), chunk.results.shape[1]), dtype=np.int32)
            results[chunk.start : chunk.stop] = chunk.results
            counts[chunk.start : chunk.stop] = chunk.counts
            done += chunk.stop - chunk.start
            if progress is not None:
                progress(done)
        seconds = time.perf_counter() - start
    assert results is not None  # there is at least one image
    return SimulationResult(
        outputs=output_values(network, results),
        layers=summarize(network, product, counts),
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Chunk:
    """What a worker made of images ``start .. stop - 1``."""

    start: int
    stop: int
    results: NDArray[np.int32]
    counts: NDArray[np.int64]


class _Simulator(WorkerPlugin):
    """The network on a worker, ready to run; a worker takes no task before this is set up."""

    def __init__(
        self, network: IntegerNetwork, product: Product, kernel: str, memory_limit: int | None
    ) -> None:
        self.name = f"asq-hw-{uuid4().hex}"
        # A network's mappings cannot be pickled, and references and metadata are not needed.
        self.parts = (network.name, network.layers, network.outputs)
        self.product, self.kernel, self.memory_limit = product, kernel, memory_limit
        self.version = asq_hw.__version__

    async def setup(self, worker: object) -> None:
        """Compile, beside the worker's own business."""
        await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        if asq_hw.__version__ != self.version:
            found = asq_hw.__version__
            raise InputError(f"a worker's asq-hw must be version {self.version}, not {found}")
        name, layers, outputs = self.parts
        network = IntegerNetwork(name=name, layers=layers, outputs=outputs)
        nothing = np.zeros((0, *network.input.shape), dtype=network.input.integers.dtype)
        self.run = Run(
            network,
            nothing,
            product=self.product,
            kernel=self.kernel,
            memory_limit=self.memory_limit,
        )
        self.run.warm_up()

    def compute(self, start: int, images: Images) -> _Chunk:
        run = self.run.on(images)
        for _ in run.run(1, len(images)):
            pass
        return _Chunk(
            start=start,
            stop=start + len(images),
            results=run.results,
            counts=run.counts,
        )


def _compute_chunk(plugin: str, start: int, images: Images) -> _Chunk:
    """Run on a worker: one task."""
    simulator = get_worker().plugins[plugin]
    assert isinstance(simulator, _Simulator)
    return simulator.compute(start, images)


def _compute(client: Client, plugin: str, images: Images, batch_size: int) -> Iterator[_Chunk]:
    """Chunks as they come back; lost workers' are run again, by Dask."""
    size = max(1, min(batch_size, _CHUNK_BYTES // images[0].nbytes))
    spans = iter(range(0, len(images), size))
    running = as_completed(loop=client.loop)

    def submit() -> None:
        """Keep the cluster busy, but never send it the whole data set."""
        wanted = _AHEAD * max(sum(client.nthreads().values()), 1)
        while running.count() < wanted and (start := next(spans, None)) is not None:
            part = np.ascontiguousarray(images[start : start + size])
            key = f"{plugin}-{start}"
            running.add(client.submit(_compute_chunk, plugin, start, part, key=key, pure=False))

    submit()
    for future in running:
        yield _result(future)
        submit()


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask, a local cluster's scheduler included, says nothing by itself."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with dask.config.set(_QUIET):
            yield
    finally:
        gc.collect()  # what is undone is complained of when it is thrown away
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _result(future: Future[Any]) -> _Chunk:
    try:
        chunk = future.result()
    except KilledWorker:
        start = str(future.key).rpartition("-")[2]
        raise ConnectionError(
            f"the cluster lost, again and again, the worker that computed images from {start} on"
        ) from None
    except CancelledError:
        raise ConnectionError("the cluster went away") from None
    assert isinstance(chunk, _Chunk)
    return chunk


@contextmanager
def _sent(client: Client, plugin: _Simulator) -> Iterator[None]:
    """Every worker has the network, until the end."""
    try:
        client.register_plugin(plugin, name=plugin.name)
        yield
    except ModuleNotFoundError as error:
        raise InputError(f"a cluster's workers must have asq-hw: {error}") from None
    finally:
        # A worker that compiles does not answer, and Ctrl-C has to be quick.
        forgetting = Thread(target=_forget, args=(client, plugin), daemon=True)
        forgetting.start()
        forgetting.join(_CLOSE_SECONDS)


def _forget(client: Client, plugin: _Simulator) -> None:
    with suppress(Exception):  # nothing more can be done where a worker is gone
        client.unregister_worker_plugin(plugin.name)


@contextmanager
def _connect(cluster: str) -> Iterator[Client]:
    """A client of the cluster that has at least one worker."""
    if cluster.startswith(_LOCAL):
        with _local_workers(_local_count(cluster)) as local, _client(local, cluster) as client:
            local.scale(_local_count(cluster))
            _wait_for_worker(client, cluster)
            yield client
        return
    if not _ADDRESS.fullmatch(cluster):
        raise InputError(
            f"cluster must be local:N or a scheduler's address such as tcp://HOST:8786, "
            f"not {cluster!r}"
        )
    _check_certificates(cluster)
    with _client(cluster, cluster) as client:
        _wait_for_worker(client, cluster)
        yield client


def _check_certificates(cluster: str) -> None:
    """Refuse an address that needs certificates where Dask's settings name none that work."""
    if not cluster.startswith(_ENCRYPTED):
        return
    try:
        known = Security().get_connection_args("client").get("ssl_context")
    except (OSError, ValueError, TypeError) as error:  # a file is missing, or is no certificate
        raise InputError(
            f"cluster {cluster} needs certificates that can be read: {error}"
        ) from None
    if known is None:
        raise InputError(
            f"cluster {cluster} needs certificates: set Dask's distributed.comm.tls.ca-file, "
            "client.cert and client.key"
        )


def _local_count(cluster: str) -> int:
    text = cluster.removeprefix(_LOCAL)
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= _MOST_LOCAL_WORKERS:
        raise InputError(f"cluster local:N must have N in 1..{_MOST_LOCAL_WORKERS}, not {text!r}")
    return int(text)


@contextmanager
def _local_workers(count: int) -> Iterator[LocalCluster]:
    """A cluster of this machine without workers yet; those that it gets end with it."""
    with _uninterrupted_children():
        local = LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
        )
    try:
        yield local
    finally:
        _kill_workers()
        with suppress(TimeoutError):
            local.close(timeout=_CLOSE_SECONDS)
        _kill_workers()  # which had been on their way
        local.shutdown_on_close = False  # else Dask tries again, for longer, when Python ends


def _kill_workers() -> None:
    """They hold nothing that is worth a farewell, and Ctrl-C has to be quick."""
    for process in multiprocessing.active_children():
        if process.name.startswith(_WORKER_PROCESS):
            process.kill()


@contextmanager
def _uninterrupted_children() -> Iterator[None]:
    """Threads that begin here, and the processes that they start, do not hear of Ctrl-C.

    A terminal sends it to all processes, and one that has not yet begun to work would complain.
    """
    # It lets the thread that starts it hear again; a worker's start must find it there.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _client(target: str | LocalCluster, cluster: str) -> Iterator[Client]:
    try:
        client = Client(target, timeout=_CONNECT_SECONDS, set_as_default=False)
    except Exception as error:  # by address and certificates, anything may be what it dislikes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"cluster {cluster} must have a scheduler that answers: {reason}"
        ) from None
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            client.close(timeout=_CLOSE_SECONDS)


def _wait_for_worker(client: Client, cluster: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_WORKER_SECONDS)
    except TimeoutError:
        raise InputError(
            f"cluster {cluster} must have at least one worker; none came in {_WORKER_SECONDS} s"
        ) from None
