"""Simulation on a Dask cluster: the same bits, whatever happens to the workers."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster, Security

from asq_hw import cli, modelfile
from asq_hw.errors import InputError
from asq_hw.network.graph import IntegerNetwork
from asq_hw.numbers.products import Product, ProductKind
from asq_hw.sim import SimulationResult, cluster, simulate
from tests.helpers import networks

ROOT = Path(__file__).parents[2]
PATIENCE = 600  # seconds until a test gives up; a first simulation compiles
WORKER = "Dask Worker process"


@pytest.fixture(scope="module")
def network() -> IntegerNetwork:
    return networks.network_of_every_kind()


@pytest.fixture(scope="module")
def images(network: IntegerNetwork) -> np.ndarray:
    return networks.random_images(network, 250, seed=3)


@pytest.fixture
def address() -> Iterator[str]:
    """A cluster that somebody else runs."""
    with (
        dask.config.set({"logging.distributed": "critical"}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=False,
            protocol="tcp",
            host="127.0.0.1",
            dashboard_address=None,
        ) as made,
    ):
        yield made.scheduler_address


def assert_same(result: SimulationResult, expected: SimulationResult) -> None:
    for name in ("scores", "predictions"):
        ours, theirs = getattr(result, name), getattr(expected, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert result.layers == expected.layers


def workers() -> list[int]:
    """Process ids of the workers that this process has started."""
    children = multiprocessing.active_children()
    return [child.pid for child in children if WORKER in child.name and child.pid]


def test_two_processes_give_what_one_thread_gives(network, images) -> None:
    product = Product(kind=ProductKind.POST_LUT)
    done: list[int] = []
    result = cluster.simulate(
        network,
        images,
        cluster="local:2",
        product=product,
        batch_size=7,
        progress=done.append,
    )
    assert_same(result, simulate(network, images, product=product, threads=1))
    assert len(done) == -(-len(images) // 7)
    assert done == sorted(done) and done[-1] == len(images)
    assert workers() == []


def test_a_killed_worker_changes_no_digit(network, images) -> None:
    killed: list[tuple[int, int]] = []

    def kill(done: int) -> None:
        if not killed:
            victim = workers()[0]
            os.kill(victim, signal.SIGKILL)
            killed.append((victim, done))

    result = cluster.simulate(network, images, cluster="local:2", batch_size=2, progress=kill)
    assert killed[0][1] < len(images) / 2
    assert_same(result, simulate(network, images, threads=1))
    assert workers() == []


def test_a_cluster_elsewhere_is_left_as_it_was(network, images, address) -> None:
    result = cluster.simulate(network, images, cluster=address.removeprefix("tcp://"))
    assert_same(result, simulate(network, images, threads=1))
    with Client(address, set_as_default=False) as client:
        plugins = client.run(lambda dask_worker: [*dask_worker.plugins])
        assert len(plugins) == 2
        assert not any(name.startswith("asq-hw") for names in plugins.values() for name in names)
        assert client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)) == 0


def test_local_workers_listen_to_this_machine_alone(network, images) -> None:
    """Whoever reaches a Dask scheduler, or a worker, can run code there."""
    heard: set[str] = set()

    def look(done: int) -> None:
        ours = psutil.Process()
        for process in (ours, *ours.children(recursive=True)):
            heard.update(
                connection.laddr.ip
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            )

    cluster.simulate(network, images, cluster="local:2", batch_size=50, progress=look)
    assert heard == {"127.0.0.1"}


def test_a_cluster_over_tls_asks_for_certificates(network, images, tmp_path) -> None:
    """With the settings of the worked example in docs/simulation.md."""
    made = Security.temporary()
    for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
        (tmp_path / name).write_text(getattr(made, name))
    files = {name: str(tmp_path / name) for name in ("tls_ca_file",)}
    for role in ("client", "scheduler", "worker"):
        files[f"tls_{role}_cert"] = str(tmp_path / "tls_client_cert")
        files[f"tls_{role}_key"] = str(tmp_path / "tls_client_key")
    tls = "distributed.comm.tls."
    settings = {f"{tls}ca-file": files["tls_ca_file"]}
    for part in ("cert", "key"):
        settings[f"{tls}client.{part}"] = files[f"tls_client_{part}"]
    with (
        dask.config.set({"logging.distributed": "critical"}),
        LocalCluster(
            n_workers=1,
            processes=False,
            protocol="tls",
            host="127.0.0.1",
            dashboard_address=None,
            security=Security(require_encryption=True, **files),
        ) as running,
    ):
        address = running.scheduler_address
        assert address.startswith("tls://")
        with dask.config.set(settings):
            result = cluster.simulate(network, images, cluster=address)
        assert_same(result, simulate(network, images, threads=1))
        with pytest.raises(InputError, match="must have a scheduler that answers"):
            cluster.simulate(network, images, cluster=address.replace("tls:", "tcp:"))
        with pytest.raises(InputError, match=r"needs certificates: set .*\.ca-file"):
            cluster.simulate(network, images, cluster=address)
        with (
            dask.config.set(settings | {f"{tls}ca-file": str(tmp_path / "none")}),
            pytest.raises(InputError, match="needs certificates that can be read"),
        ):
            cluster.simulate(network, images, cluster=address)


def test_an_error_on_a_worker_is_the_users_error(network, images) -> None:
    with pytest.raises(
        InputError, match="kernel must be one of auto, vnni, avx2, portable, not 'fast'"
    ):
        cluster.simulate(network, images, cluster="local:1", kernel="fast")
    assert workers() == []


def test_another_version_is_refused(network, monkeypatch) -> None:
    plugin = cluster._Simulator(network, Product(), "auto", None)
    monkeypatch.setattr("asq_hw.__version__", "0.0.0")
    with pytest.raises(InputError, match=r"a worker's asq-hw must be version .*, not 0\.0\.0"):
        plugin._prepare()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("local:0", "cluster local:N must have N in 1..256, not '0'"),
        ("local:two", "cluster local:N must have N in 1..256, not 'two'"),
        ("local:99999999999999999999", "cluster local:N must have N in 1..256"),
        ("somewhere", "cluster must be local:N or a scheduler's address such as"),
        ("http://127.0.0.1:1", "cluster must be local:N or a scheduler's address such as"),
        ("tcp://127.0.0.1:1", "cluster tcp://127.0.0.1:1 must have a scheduler that answers"),
    ],
)
def test_no_such_cluster(network, images, monkeypatch, name, complaint) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(InputError, match=complaint):
        cluster.simulate(network, images, cluster=name)


def test_images_are_checked_before_a_cluster_is_started(network) -> None:
    with pytest.raises(InputError, match="at least one image"):
        cluster.simulate(network, networks.random_images(network, 1, seed=0)[:0], cluster="nowhere")
    with pytest.raises(InputError, match="batch size must be"):
        cluster.simulate(
            network, networks.random_images(network, 1, seed=0), cluster="nowhere", batch_size=0
        )


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "asq_hw.cli", "simulate", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_program_prints_the_same_document(network, tmp_path) -> None:
    common = ("--limit", "100", "--format", "json")
    alone = run_program(*common)
    together = run_program(*common, "--cluster", "local:2", "--batch-size", "16")
    assert (together.returncode, together.stderr) == (0, "")
    documents = [json.loads(result.stdout) for result in (alone, together)]
    for document in documents:
        assert document.pop("images_per_second") > 0
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    "others", [("--trace", "there"), ("--compare", "there"), ("--threads", "2")]
)
def test_what_a_cluster_cannot_do_is_refused(capsys, monkeypatch, tmp_path, others) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["simulate", "--cluster", "local:2", *others]) == 2
    assert capsys.readouterr().err == (
        f"asq-hw: error: {others[0]} cannot be used with --cluster\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_distributed_the_program_says_how_to_get_it(capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["simulate", "--cluster", "local:2"]) == 2
    assert "pip install 'asq-hw[cluster]'" in capsys.readouterr().err


def children_of(process: int) -> set[int]:
    tasks = Path(f"/proc/{process}/task")
    return {
        int(child)
        for task in tasks.glob("*/children")
        for child in task.read_text(encoding="ascii").split()
    }


SCRIPT = """
import sys
import numpy as np
from asq_hw import modelfile
from asq_hw.sim import cluster

if __name__ == "__main__":
    network = modelfile.load(sys.argv[1])
    images = np.zeros((20_000, *map(int, sys.argv[2:])), dtype=np.uint8)
    try:
        cluster.simulate(network, images, cluster="local:2", batch_size=1, progress=print)
    except KeyboardInterrupt:
        sys.exit("interrupted")
"""


def test_ctrl_c_leaves_nothing_behind(network, images, tmp_path) -> None:
    modelfile.save(network, tmp_path / "model.asq")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-u", str(script), tmp_path / "model.asq", *map(str, images.shape[1:])],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    children = children_of(process.pid)
    assert len(children) >= 2
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
    output, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (1, "interrupted\n")
    assert "20000" not in output
    wait_until_gone(children)


def wait_until_gone(processes: set[int]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{process}").exists() for process in processes):
        assert time.monotonic() < deadline
        time.sleep(0.05)
