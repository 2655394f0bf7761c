"""No output falls onto an input: every command that reads a path and writes one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from analysis.paper import distributions
from analysis.studies import mac_figure
from asq_hw.cli import main
from asq_hw.cli.app import app
from asq_hw.errors import InputError
from asq_hw.files.outputs import check_outputs
from asq_hw.train import recipes
from asq_hw.train.run.folder import FILES
from asq_hw.train.run.training import train

WRITTEN = {"--output", "--trace", "--plot", "--log-dir"}
READ = {
    "model", "checkpoint", "network", "--data", "--reference", "--compare", "--weights", "--recipe",
}  # fmt: skip
PATHS = {"MODEL", "CHECKPOINT", "FILE", "DIR"}
"""What stands in the metavar of a parameter that is a path."""
OTHERS = {"--recipe": "digits-float", "--bits": "4", "--scheme": "post-split", "--lanes": "2"}
"""Values of what a command must be given beside the two paths."""


def parameters() -> Iterator[tuple[tuple[str, ...], list[Any]]]:
    """Every command by its words, with its parameters."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[Any]]]:
        if not hasattr(command, "list_commands"):
            yield words, command.params
            return
        context = command.context_class(command)
        for name in command.list_commands(context):  # some are made when they are asked for
            yield from walk(command.get_command(context, name), (*words, name))

    return walk(typer.main.get_command(app), ())


def is_path(parameter: Any) -> bool:
    return bool(PATHS & set((parameter.metavar or "").split("|")))


def name_of(parameter: Any) -> str:
    return str(max(parameter.opts, key=len))  # --init's other name is --weights


PAIRS = [
    (words, name_of(one), name_of(other))
    for words, found in parameters()
    for one in found
    for other in found
    if is_path(one) and name_of(one) in WRITTEN and is_path(other) and name_of(other) in READ
]


def test_every_path_of_every_command_is_known_as_read_or_written() -> None:
    paths = {name_of(each) for _, found in parameters() for each in found if is_path(each)}
    assert paths == READ | WRITTEN
    known = {"simulate", "quantize", "import", "train", "export", "rtl"}
    assert {words[0] for words, _, _ in PAIRS} == known


@pytest.mark.parametrize("words, written, read", PAIRS)
def test_no_command_writes_onto_what_it_reads(
    tmp_path: Path, words: tuple[str, ...], written: str, read: str
) -> None:
    source = tmp_path / "source"
    is_folder = read in ("--data", "--reference", "--compare")
    file = source / "file" if is_folder else source
    if is_folder:
        source.mkdir()
    recipe = Path(recipes.__file__).parent / "digits-float.toml"
    file.write_bytes(recipe.read_bytes() if read == "--recipe" else b"precious")
    before = file.read_bytes()
    given = {written: str(source), read: str(source)}
    command = dict(parameters())[words]
    required = {name_of(each) for each in command if each.required} - given.keys()
    if words[0] in ("quantize", "train") and "--recipe" not in given:  # it, or a network, is
        required.add("--recipe")
    given |= {name: OTHERS.get(name, str(tmp_path / "other")) for name in required}
    arguments = [part for name, value in given.items() for part in spelled(name, value)]
    status, said = run([*words, *arguments])
    assert (status, "which is read" in said) == (2, True), said
    assert file.read_bytes() == before
    assert sorted(tmp_path.rglob("*")) == sorted({source, file})


def spelled(name: str, value: str) -> list[str]:
    return [name, value] if name.startswith("--") else [value]


def run(arguments: list[str]) -> tuple[int, str]:
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        return main(arguments), said.getvalue()


def test_an_output_never_falls_onto_an_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    source = data / "a.pt"
    source.write_bytes(b"x")
    os.link(source, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(source)
    for output in (source, tmp_path / "hard", tmp_path / "soft", data, data / ".." / "data/a.pt"):
        with pytest.raises(InputError, match="which is read"):
            check_outputs({"--output": output}, {"checkpoint": source})
    with pytest.raises(InputError, match="must not lie in --data"):
        check_outputs({"--trace": data / "new"}, {"--data": str(data)})
    check_outputs({"--output": tmp_path / "b.asq"}, {"checkpoint": source, "--data": "digits"})


@pytest.mark.parametrize("name", FILES)
def test_a_run_leaves_the_recipe_in_its_folder_alone(tmp_path: Path, name: str) -> None:
    recipe = tmp_path / name
    text = (Path(recipes.__file__).parent / "digits-float.toml").read_text()
    recipe.write_text(text)
    status, said = run(["train", "--recipe", str(recipe), "-o", str(tmp_path)])
    assert status == 2
    assert f"{name} of --output {recipe} must not be --recipe {recipe}, which is read" in said
    assert recipe.read_text() == text and list(tmp_path.iterdir()) == [recipe]
    # From Python, the recipe is no file, and the checkpoint to start from is one.
    chosen = recipes.load(recipe)
    with pytest.raises(InputError, match="output .* must not be the folder of init"):
        train(chosen, output=tmp_path, init=recipe)
    with pytest.raises(InputError, match="log_dir .* must not be the folder of init"):
        train(chosen, output=tmp_path / "run", init=recipe, log_dir=tmp_path)
    assert list(tmp_path.iterdir()) == [recipe]


def test_the_analysis_writes_onto_nothing_that_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "source.svg"
    source.write_text("precious")
    named = str(source)
    assert distributions.main(["measure", "weights", named, "--output", named]) == 2
    assert distributions.main(["draw", "weights", named, "--output", named]) == 2
    assert capsys.readouterr().err.count("which is read") == 2
    with pytest.raises(InputError, match="which is read"):
        mac_figure.main([named, named])
    assert source.read_text() == "precious"
