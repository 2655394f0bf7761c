"""What a run does to the folder that it writes to."""

from dataclasses import replace
from pathlib import Path

import pytest

from asq_hw.errors import InputError
from asq_hw.files.atomic import atomic_write
from asq_hw.network.images import ImageSpec
from asq_hw.train import recipes
from asq_hw.train.checkpoints.checkpoint import Checkpoint
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


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_failed_before_its_first_epoch_is_not_in_the_way(
    tmp_path: Path, resume: bool
) -> None:
    folder = RunFolder(tmp_path, writes=True)
    begun = Checkpoint(
        recipe=recipes.load("digits-float"),
        in_channels=1,
        num_classes=10,
        epoch=0,
        accuracy=None,
        weights={},
        training={},
    )
    folder.save(folder.last, begun)
    images = ImageSpec(shape=(1, 8, 8), mean=(0.5,), std=(0.5,), classes=())
    assert folder.saved(begun.recipe, images, resume=resume) is None
    folder.save(folder.last, replace(begun, epoch=1))
    if resume:
        saved = folder.saved(begun.recipe, images, resume=True)
        assert saved is not None and saved.epoch == 1
    else:
        with pytest.raises(InputError, match="holds a run already"):
            folder.saved(begun.recipe, images, resume=False)
