"""Networks of one's own: built by anybody's code, trained, resumed and opened like known ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from asq_hw.errors import InputError
from asq_hw.train import recipes
from asq_hw.train.checkpoints import checkpoint as checkpoints
from asq_hw.train.floating import floating_network
from asq_hw.train.models.own import build_own, is_own
from asq_hw.train.opening import open_network
from asq_hw.train.run.progress import Progress
from asq_hw.train.run.training import train

CODE = """
import torch
from torch import nn
from torch.nn import functional as F
from beside import WIDTH


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, WIDTH, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.inner = nn.Conv2d(WIDTH, 8, 1)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        print("forward")
        x = F.relu6(self.norm(self.stem(x)))
        return self.head(F.relu(self.inner(x)).mean([2, 3]))


def build():
    print("built")
    return Net()


def broken():
    return helper()


def helper():
    raise ValueError("no weights\\nhere")


def leaves():
    raise SystemExit(3)


def number():
    return 3


def needs(size):
    return Net()


def few():
    return nn.Sequential(nn.Conv2d(1, 4, 8), nn.Flatten())


def normed():
    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.GroupNorm(2, 10), nn.Flatten())


THING = 3
"""
SHAPE = {"width": 16, "in_channels": 1, "num_classes": 10, "image_size": (8, 8)}
SMALL = ("training_images=64", "batch_size=32", "epochs=2", "freeze_bn_epochs=0")


@pytest.fixture(autouse=True)
def mynet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, in the working folder, with another one that it imports."""
    monkeypatch.chdir(tmp_path)
    for name in ("beside", "mynet"):  # other tests have such files, too
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    (tmp_path / "mynet.py").write_text(CODE)
    (tmp_path / "syntax.py").write_text("\ndef build(:\n")
    (tmp_path / "lacks.py").write_text("import no_such_module_of_anybodys\n")
    return tmp_path / "mynet.py"


def test_a_builder_is_called_where_its_file_lies(
    mynet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = list(sys.path)
    assert isinstance(build_own("mynet.py:build"), nn.Module)
    assert isinstance(build_own(f"{mynet}:Net"), nn.Module)
    assert isinstance(build_own("mynet:build"), nn.Module)  # a module of the working folder
    assert sys.path == path
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "built\nbuilt\n")
    assert is_own("mynet.py:build") and not is_own("resnet18")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mynet.py:broken", r"mynet.py:broken \(mynet.py:32\): ValueError: no weights"),
        ("mynet.py:leaves", r"\(mynet.py:36\): SystemExit: 3"),
        ("mynet.py:number", "mynet.py:number must return a torch.nn.Module, not int"),
        ("mynet.py:needs", "mynet.py:needs: TypeError: .*missing 1 required positional argument"),
        ("mynet.py:THING", "mynet.py must have a function 'THING'"),
        ("mynet.py:nothing", "mynet.py must have a function 'nothing'"),
        ("mynet.py:", "must be given as FILE.py:BUILDER or NET.onnx, not 'mynet.py:'"),
        (":build", "must be given as FILE.py:BUILDER or NET.onnx, not ':build'"),
        ("mynet.py:a.b", "must be given as FILE.py:BUILDER or NET.onnx"),
        ("none.py:build", "none.py must be a file of Python code, and there is none"),
        ("syntax.py:build", r"syntax.py:build \(syntax.py:2\): SyntaxError"),
        ("lacks.py:build", r"\(lacks.py:1\): ModuleNotFoundError: No module named 'no_such"),
        ("no_such_module:build", "there is no module 'no_such_module' to take a network from"),
        ("os:abort", "must be none of Python's own library, not 'os'"),
        ("os.path:abspath", "must be none of Python's own library, not 'os.path'"),
        ("a/b:build", "must be a name such as package.module, not 'a/b'"),
    ],
)
def test_code_that_fails_is_one_line_with_its_place(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        build_own(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mynet.py:few", "must make one score for each of 10 classes, not 4"),
        (
            "mynet.py:normed",
            r"mynet.py:normed cannot be quantized: 1: group_norm has no",
        ),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_anything(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        floating_network(name, **SHAPE)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_recipe_of_ones_own_says_what_it_quantizes() -> None:
    recipe = recipes.own("nets/mynet.py:build", "digits", ["weight_bits=4", "mean=0.5", "std=0.25"])
    assert (recipe.name, recipe.model) == ("mynet-build-w4a8", "nets/mynet.py:build")
    assert (recipe.mean, recipe.std, recipe.per_channel) == ((0.5,), (0.25,), True)
    assert recipes.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(InputError, match="recipe key mean must be numbers, .*not 'half'"):
        recipes.own("mynet.py:build", "digits", ["mean=half"])


def stop(progress: Progress) -> None:
    if progress.accuracy is not None:
        raise KeyboardInterrupt


def test_training_is_resumed_and_opened_by_the_checkpoint_alone(tmp_path: Path) -> None:
    model = build_own("mynet.py:build")
    torch.save(model.state_dict(), tmp_path / "w.pt")
    recipe = recipes.own(
        "mynet.py:build", "digits", [*SMALL, "weights=post", "weight_bits=4", "mean=0.5", "std=0.5"]
    )
    whole = train(recipe, output=tmp_path / "whole", init=tmp_path / "w.pt", threads=1)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, output=tmp_path / "part", init=tmp_path / "w.pt", threads=1, report=stop)
    train(recipe, output=tmp_path / "part", resume=True, threads=1)
    found = [checkpoints.load(tmp_path / run / "last.pt") for run in ("whole", "part")]
    assert found[0].recipe.model == "mynet.py:build" and found[0].epoch == 2
    assert found[0].images is not None and found[0].images.mean == (0.5,)
    for name, tensor in found[0].weights.items():
        assert torch.equal(tensor, found[1].weights[name]), name
    opened = open_network(whole.last).build_model()
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(opened(x), found[1].build_model()(x))


def test_a_state_dict_of_ones_own_loop_is_opened_with_the_recipe(tmp_path: Path) -> None:
    recipe = recipes.own("mynet.py:build", "digits", [*SMALL, "epochs=1"])
    run = train(recipe, output=tmp_path / "run", threads=1)
    weights = checkpoints.load(run.last).weights
    torch.save(weights, tmp_path / "own.pt")
    opened = open_network(tmp_path / "own.pt", recipe)
    assert all(torch.equal(opened.weights[name], tensor) for name, tensor in weights.items())
    torch.save(build_own("mynet.py:build").state_dict(), tmp_path / "float.pt")
    with pytest.raises(InputError, match="float.pt does not fit the network: it lacks"):
        open_network(tmp_path / "float.pt", recipe)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    state = build_own("mynet.py:build").state_dict()
    state["extra.weight"] = state.pop("head.weight")
    torch.save(state, tmp_path / "w.pt")
    recipe = recipes.own("mynet.py:build", "digits", SMALL)
    with pytest.raises(InputError, match=r"w.pt does not fit the network: it lacks head.weight"):
        train(recipe, output=tmp_path / "run", init=tmp_path / "w.pt")


def test_early_crops_of_a_network_of_ones_own_are_refused(tmp_path: Path) -> None:
    """It was read, and rewritten, for images of one size."""
    recipe = recipes.own("mynet.py:build", "digits", [*SMALL, "early_crop=6", "early_epochs=1"])
    with pytest.raises(InputError, match="early_crop must be 0 for a network of your own, .*not 6"):
        train(recipe, output=tmp_path / "run", threads=1)


def test_a_checkpoint_does_not_run_pythons_own_library(tmp_path: Path) -> None:
    run = train(recipes.own("mynet.py:build", "digits", SMALL), output=tmp_path / "run", threads=1)
    content = torch.load(run.last, weights_only=True)
    content["recipe"]["model"] = "os:abort"
    torch.save(content, tmp_path / "hostile.pt")
    with pytest.raises(InputError, match="none of Python's own library, not 'os'"):
        checkpoints.load(tmp_path / "hostile.pt").build_model()
