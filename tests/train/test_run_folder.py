"""What a run does to the folder that it writes to."""

from pathlib import Path

import pytest

from asq_hw.files.atomic import atomic_write
from asq_hw.train.run.folder import BEST, FILES, RunFolder


def leftovers(folder: Path) -> list[Path]:
    """Files as a process leaves them that is killed while it writes, one for each name."""
    made = [folder / f".{name}.{'0' * 16}.tmp" for name in FILES]
    for path, content in zip(made, (b"half", b"", b"half"), strict=True):
        path.write_bytes(content)
    return made


def test_what_a_killed_run_had_begun_to_write_is_removed(tmp_path: Path) -> None:
    made = leftovers(tmp_path)
    (tmp_path / BEST).write_bytes(b"whole")
    (tmp_path / f"{BEST}.tmp").write_bytes(b"somebody's own")
    RunFolder(tmp_path, writes=True)
    assert not any(path.exists() for path in made)
    assert {path.name for path in tmp_path.iterdir()} == {BEST, f"{BEST}.tmp"}


def test_who_does_not_write_removes_nothing(tmp_path: Path) -> None:
    made = leftovers(tmp_path)
    RunFolder(tmp_path, writes=False)
    assert all(path.exists() for path in made)


@pytest.mark.parametrize("name", FILES)
def test_what_another_run_is_writing_is_left_alone(name: str, tmp_path: Path) -> None:
    with atomic_write(tmp_path / name) as file:
        file.write(b"whole")
        file.flush()
        RunFolder(tmp_path, writes=True)
    assert (tmp_path / name).read_bytes() == b"whole"
