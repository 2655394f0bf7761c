from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from asq_hw.errors import InputError, StorageError
from asq_hw.files.atomic import atomic_write, make_folder, remove_leftovers


def listing(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def test_a_new_file_holds_what_was_written(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "out") as file:
        file.write(b"one")
        file.write(b"two")
    assert listing(tmp_path) == {"out": b"onetwo"}


def test_the_target_does_not_change_before_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with atomic_write(target) as file:
        file.write(b"new")
        file.flush()
        assert target.read_bytes() == b"old"
    assert listing(tmp_path) == {"out": b"new"}


def test_a_string_path_in_the_working_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_write("out") as file:
        file.write(b"here")
    assert listing(tmp_path) == {"out": b"here"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_exception_keeps_the_old_state_and_leaves_no_litter(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    target = tmp_path / "out"
    if old is not None:
        target.write_bytes(old)
    before = listing(tmp_path)
    with pytest.raises(error), atomic_write(target) as file:
        file.write(b"half of it")
        raise error
    assert listing(tmp_path) == before


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()]
)
def test_a_failure_while_finishing_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(os, step, fail)
    expected = StorageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), atomic_write(target) as file:
        file.write(b"new")
    assert listing(tmp_path) == {"out": b"old"}


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    with pytest.raises(StorageError) as caught, atomic_write(target) as file:
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"cannot write {target}: No space left on device"
    assert listing(tmp_path) == {"out": b"old"}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's always full device")
def test_a_disk_that_fills_up_in_flush_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The buffered bytes reach the full device only when the block is over.
    monkeypatch.setattr(
        "builtins.open", lambda *_: os.fdopen(os.open("/dev/full", os.O_WRONLY), "wb")
    )
    with pytest.raises(StorageError, match="No space left"), atomic_write(tmp_path / "out") as file:
        file.write(b"never arrives")
    assert listing(tmp_path) == {}


def test_an_error_about_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "out") as file:
        file.write((tmp_path / "missing").read_bytes())
    assert listing(tmp_path) == {}


def test_a_closed_pipe_in_the_block_is_not_taken_for_ours(tmp_path: Path) -> None:
    with pytest.raises(BrokenPipeError), atomic_write(tmp_path / "out"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")


def test_a_directory_is_refused_before_the_block_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it is a directory$"), atomic_write(tmp_path):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("where", ["missing/out", "file/out", "/proc/asq-hw-cannot-write-here"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as caught, atomic_write(tmp_path / where):
        pytest.fail("the block must not run")
    assert str(caught.value).startswith(f"cannot write {tmp_path / where}: ")
    assert "\n" not in str(caught.value)


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match="not a regular file"), atomic_write("/dev/null"):
        pytest.fail("the block must not run")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_write_protected_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.write_bytes(b"old")
    # Not by chmod: root, whom containers run tests as, may write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: not (path == target and mode & os.W_OK))
    with pytest.raises(InputError, match="write-protected"), atomic_write(target):
        pytest.fail("the block must not run")


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    with atomic_write(tmp_path / "out"):
        pass
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_stays_a_link_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_name_of_the_greatest_length_is_written(tmp_path: Path) -> None:
    with atomic_write(tmp_path / ("n" * 255)) as file:
        file.write(b"long")
    assert listing(tmp_path) == {"n" * 255: b"long"}


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """Not what somebody is writing, nor what only looks similar."""
    left, others = f".out.{'0' * 16}.tmp", f".out2.{'0' * 16}.tmp"
    for name in (left, others, ".out.tmp"):
        (tmp_path / name).write_bytes(b"half")
    with atomic_write(tmp_path / "out") as first:
        first.write(b"first")
        first.flush()
        with atomic_write(tmp_path / "out") as second:
            second.write(b"second")
    assert listing(tmp_path) == {"out": b"first", others: b"half", ".out.tmp": b"half"}


@pytest.mark.parametrize(
    ("path", "message"), [("", "must be a path, not an empty string"), ("a\0b", "null")]
)
def test_what_is_no_path_is_one_line(path: str, message: str) -> None:
    with pytest.raises(InputError, match=message), atomic_write(path):
        pytest.fail("the block must not run")
    with pytest.raises(InputError, match=f"^output .*{message}"):
        make_folder(path, "output")


def test_a_file_that_is_removed_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = fcntl.flock, []

    def lock_late(file: BinaryIO, operation: int) -> None:
        if operation == fcntl.LOCK_EX and not swept:  # the writer's
            swept.append(list(listing(tmp_path)))
            remove_leftovers(tmp_path / "out")
            assert listing(tmp_path) == {}
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with atomic_write(tmp_path / "out") as file:
        file.write(b"new")
    assert len(swept[0]) == 1
    assert listing(tmp_path) == {"out": b"new"}


def test_a_link_that_is_called_like_a_temporary_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"kept")
    link = tmp_path / f".out.{'0' * 16}.tmp"
    link.symlink_to("kept")
    with atomic_write(tmp_path / "out"):
        pass
    assert link.is_symlink() and (tmp_path / "kept").exists()
