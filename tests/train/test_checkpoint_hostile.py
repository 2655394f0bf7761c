"""400 checkpoints from an attacker: each loads or is refused, soon, and in little memory."""

from __future__ import annotations

import io
import pickle
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import Generator

from asq_hw.errors import InputError
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.checkpoints.archive import ArchiveError, check_archive
from asq_hw.train.checkpoints.legacy import MAGIC, check_legacy
from asq_hw.train.models import build
from asq_hw.train.recipes import Recipe
from tests.helpers.guards import no_hang

PATIENCE = 60
RECIPE = Recipe(
    name="x", model="digits", dataset="digits", epochs=1, batch_size=8, learning_rate=0.1, width=2
)


def content() -> dict[str, Any]:
    model = build("digits", width=2, in_channels=1, num_classes=10)
    return {
        "format": checkpoints.FORMAT,
        "version": checkpoints.VERSION,
        "recipe": RECIPE.to_dict(),
        "in_channels": 1,
        "num_classes": 10,
        "epoch": 1,
        "accuracy": 0.5,
        "weights": model.state_dict(),
        "training": {},
    }


def packed(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def with_pickle(program: bytes, records: dict[str, bytes] | None = None, **options: Any) -> bytes:
    """An archive as torch writes it, by hand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/version", "3\n")
        for name, data in (records or {}).items():
            archive.writestr(f"x/data/{name}", data)
    return buffer.getvalue()


def old(value: object) -> bytes:
    """A file in the format before the archive."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


FLOATS = {"a": torch.arange(4.0)}
SIZE = b"K\x04\x85"
"""How a pickle says that a tensor has four elements."""


def with_size(file: bytes, count: int) -> bytes:
    """A file of `FLOATS` that says that the tensor has so many elements."""
    assert file.count(SIZE) == 1
    return file.replace(SIZE, b"J" + count.to_bytes(4, "little") + b"\x85")


def archive_with_size(count: int) -> bytes:
    source = zipfile.ZipFile(io.BytesIO(packed(FLOATS)))
    (name,) = (name for name in source.namelist() if name.endswith("data.pkl"))
    key = name.replace("data.pkl", "data/0")
    return with_pickle(with_size(source.read(name), count), {"0": source.read(key)})


def storage(count: int) -> bytes:
    """A pickle of one storage of so many floats."""
    named = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
    return b"\x80\x02" + named + b"\x8a\x08" + count.to_bytes(8, "little") + b"tQ."


def load(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    checkpoints.load(path).build_model()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: with_pickle(b"\x80\x02}.", {"0": bytes(1 << 24)}, compression=8), "packed"),
        (lambda: with_pickle(storage(2**40), {"0": bytes(8)}), "storage that it does not hold"),
        (lambda: with_pickle(storage(3), {"0": bytes(8)}), "storage that it does not hold"),
        (lambda: with_pickle(storage(1), {"1": bytes(8)}), "damaged"),
        (lambda: with_pickle(b"\x80\x02}K\x01\x85" + b"q\x01h\x01\x86" * 90 + b"K\x01s."), "tuple"),
        (lambda: with_pickle(b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R."), "os.system"),
        (
            lambda: with_pickle(b"\x80\x02U\x01a."),
            "instruction SHORT_BINSTRING, which no checkpoint",
        ),
        (lambda: packed(torch.zeros(4).to_sparse()), "names"),
        (lambda: packed(torch.zeros(4, device="meta")), "names"),
        (lambda: pickle.dumps({}), "not a checkpoint"),
        (lambda: archive_with_size(2**31 - 1), "larger than its storage"),
        (lambda: with_size(old(FLOATS), 2**31 - 1), "larger than its storage"),
        (lambda: with_size(old(FLOATS), 5), "larger than its storage"),
        (lambda: old(FLOATS).replace(b"K\x04Ntq", b"K\x06Ntq", 1), "does not hold"),
        (lambda: old(FLOATS).replace(b"cpuq", b"cpuh", 1), "damaged"),
        (lambda: old(FLOATS)[:-1], "does not hold"),
        (lambda: old(FLOATS) + b"x", "does not hold"),
        (lambda: old(FLOATS).replace(b"\x04\0\0\0\0\0\0\0", b"\x05\0\0\0\0\0\0\0"), "not hold"),
        (lambda: old(FLOATS).replace(b"M\xe9\x03.", b"M\xea\x03.", 1), "version is not 1001"),
        (lambda: MAGIC, "version is not 1001"),
        (
            lambda: old(FLOATS).replace(b"ctorch\nFloatStorage", b"ctorch\nDoubleStorage"),
            "does not hold",
        ),
        (
            lambda: old({}).replace(b"}q\x00.", b"cos\nsystem\nX\x02\0\0\0id\x85R.", 1),
            "os.system",
        ),
        (lambda: old(torch.zeros(4).to_sparse()), "names"),
    ],
)
def test_what_would_take_memory_or_run_code_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Callable[[], bytes], said: str
) -> None:
    made = data()
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch reads it"))
    with no_hang(PATIENCE), pytest.raises(InputError, match=said):
        load(tmp_path / "x.pt", made)


def test_a_storage_that_is_held_may_be_read() -> None:
    check_archive(with_pickle(storage(2), {"0": bytes(8)}))
    check_archive(packed(content()))
    check_archive(archive_with_size(4))
    check_legacy(old(content()))
    check_legacy(with_size(old(FLOATS), 4))
    with pytest.raises(ArchiveError):
        check_archive(with_pickle(storage(3), {"0": bytes(8)}))


@pytest.mark.parametrize(
    ("key", "value"),
    [("width", 4096), ("model", "resnet18"), ("width", 3_000_000_000), ("width", -1)],
)
def test_a_small_file_does_not_make_a_large_network(
    tmp_path: Path, key: str, value: object
) -> None:
    hostile = content()
    hostile["recipe"] |= {key: value}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with no_hang(PATIENCE), pytest.raises(InputError):
        load(tmp_path / "x.pt", packed(hostile))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_tensor_of_one_number_does_not_stand_for_a_large_one(tmp_path: Path) -> None:
    hostile = content()
    hostile["recipe"] |= {"model": "resnet18", "width": 64}
    hostile["in_channels"] = 3
    shapes = build("resnet18", width=64, in_channels=3, num_classes=10).state_dict()
    hostile["weights"] = {
        name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
        for name, tensor in shapes.items()
    }
    with pytest.raises(InputError, match="must hold the .* bytes of its network"):
        load(tmp_path / "x.pt", packed(hostile))


WILD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x", "../esc",
    "a\0b", "\x1b[31m", "x" * 100_000, [], [1], {}, {1: 2}, (), torch.zeros(3), torch.zeros(0),
    torch.zeros(1).expand(1 << 40), torch.tensor(float("nan")), {"x": torch.zeros(2)}, [[[[]]]],
    "resnet20", "digits",
]  # fmt: skip


def changed_values(rng: Generator) -> bytes:
    """A checkpoint with some value, at any depth, that is another."""
    made = content()
    for _ in range(int(rng.integers(1, 3))):
        place: Any = made
        while True:
            key = list(place)[int(rng.integers(len(place)))]
            if not isinstance(place[key], dict) or not place[key] or rng.random() < 0.3:
                break
            place = place[key]
        if rng.random() < 0.2:
            del place[key]
        elif rng.random() < 0.1:
            place[WILD[int(rng.integers(14))]] = 1
        else:
            place[key] = WILD[int(rng.integers(len(WILD)))]
    return packed(made)


def changed_bytes(rng: Generator) -> bytes:
    made = bytearray(packed(content()))
    for _ in range(int(rng.integers(1, 20))):
        made[int(rng.integers(len(made)))] = int(rng.integers(256))
    return bytes(made if rng.random() < 0.8 else made[: int(rng.integers(len(made)))])


def changed_pickle(rng: Generator) -> bytes:
    """The archive made anew around a damaged pickle, so that its checksums are right."""
    source = zipfile.ZipFile(io.BytesIO(packed(content())))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for record in source.infolist():
            data = bytearray(source.read(record))
            if record.filename.endswith("data.pkl"):
                for _ in range(int(rng.integers(1, 6))):
                    data[int(rng.integers(len(data)))] = int(rng.integers(256))
            archive.writestr(record.filename, bytes(data))
    return buffer.getvalue()


def changed_old_bytes(rng: Generator) -> bytes:
    made = bytearray(old(content()))
    head = made.index(b"\0\0\0\0")  # pickles come first, and hold what is worth changing
    for _ in range(int(rng.integers(1, 6))):
        made[int(rng.integers(6000 if rng.random() < 0.8 else len(made)))] = int(rng.integers(256))
    return bytes(made if rng.random() < 0.8 else made[head : int(rng.integers(len(made)))])


@pytest.mark.parametrize(
    "change", [changed_values, changed_bytes, changed_pickle, changed_old_bytes]
)
def test_100_drawn_checkpoints_load_or_are_refused(
    tmp_path: Path, change: Callable[[Generator], bytes]
) -> None:
    rng = np.random.default_rng(5)
    refused = set()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(100):
        with no_hang(PATIENCE):
            try:
                load(tmp_path / f"{number}.pt", change(rng))
            except InputError as error:
                assert len(str(error)) < 1000
                refused.add(str(error))
    assert len(refused) > 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
