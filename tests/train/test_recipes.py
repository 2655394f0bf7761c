"""Recipes are strict: whatever cannot be used is named."""

from pathlib import Path

import pytest

from asq_hw.errors import InputError
from asq_hw.numbers.encoding import Encoding
from asq_hw.train import recipes
from asq_hw.train.recipes import LayerRule, Recipe
from asq_hw.train.recipes.quantization import LayerSettings, Quantization

MINIMAL = {
    "name": "n",
    "model": "digits",
    "dataset": "digits",
    "epochs": 1,
    "batch_size": 8,
    "learning_rate": 0.1,
}
ASQ = {"activations": "asq"}


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_recipes_load_and_carry_their_own_name(name: str) -> None:
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.is_quantized == ("float" not in name)


def test_the_papers_scheme_2_is_shipped() -> None:
    recipe = recipes.load("fashion-mnist-resnet20-asq-post-w4a4")
    assert (recipe.weights, recipe.activations) == ("post", "asq")
    assert (recipe.weight_bits, recipe.activation_bits, recipe.edge_bits) == (4, 4, 8)


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size", "rate"),
    [
        ("imagenet-resnet18-asq-post-w4a4", 90, 512, 0.01),
        ("imagenet-resnet34-asq-lsq-w4a4", 90, 512, 0.01),
        ("imagenet-mobilenetv2-asq-lsq-w4a4", 90, 256, 0.01),
        ("cifar10-resnet20-asq-lsq-w4a4", 300, 128, 0.04),
        ("cifar10-resnet20-asq-post-w4a4", 300, 128, 0.04),
    ],
)
def test_the_papers_own_numbers(name: str, epochs: int, batch_size: int, rate: float) -> None:
    """Section 4.2 and 4.3; the momentum and SGD's plain form hold for both."""
    recipe = recipes.load(name)
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (epochs, batch_size, rate)
    assert (recipe.weight_decay, recipe.momentum, recipe.nesterov) == (1e-4, 0.9, False)
    assert recipe.flip
    assert recipe.crop_padding == (4 if recipe.dataset == "cifar10" else 0)


@pytest.mark.parametrize("name", [name for name in recipes.names() if "-w4a4" in name])
def test_every_quantized_recipe_has_a_float_one_to_start_from(name: str) -> None:
    recipe = recipes.load(name)
    places = {"digits": "digits"}
    start = places.get(recipe.model, f"{recipe.dataset}-{recipe.model}")
    found = recipes.load(f"{start}-float")
    assert (found.model, found.width, found.dataset) == (
        recipe.model,
        recipe.width,
        recipe.dataset,
    )


def test_a_recipe_survives_its_plain_values() -> None:
    recipe = recipes.load("digits-asq-post-w4a4", ["seed=9", "encoding=zero-free"])
    assert recipes.from_dict(recipe.to_dict()) == recipe


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in MINIMAL.items()]
    path.write_text("\n".join([*lines, 'weights = "apot"', "learning_rate = 1"][:5] + lines[5:]))
    recipe = recipes.load(path)
    assert recipe == Recipe(**MINIMAL)  # type: ignore[arg-type]  # the values are of mixed types


@pytest.mark.parametrize(
    ("pair", "key", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("learning_rate = 1", "learning_rate", 1.0),
        ("flip=true", "flip", True),
        ("weights=pot", "weights", "pot"),
        ("encoding=paper", "encoding", Encoding.PAPER),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_overrides_are_read_as_the_type_of_their_key(pair: str, key: str, value: object) -> None:
    recipe = recipes.load("digits-asq-post-w4a4", [pair])
    assert getattr(recipe, key) == value
    assert type(getattr(recipe, key)) is type(value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch": 1}, "recipe key 'epoch' is unknown"),
        ({"epochs": 1.5}, "epochs must be of type int, not 1.5"),
        ({"epochs": True}, "epochs must be of type int, not True"),
        ({"epochs": "many"}, "epochs must be of type int, not 'many'"),
        ({"flip": 1}, "flip must be of type bool, not 1"),
        ({"learning_rate": False}, "learning_rate must be of type float, not False"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0, not nan"),
        ({"learning_rate": float("inf")}, "learning_rate must be above 0, not inf"),
        ({"learning_rate": 0}, "learning_rate must be above 0, not 0.0"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0, not -0.0001"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), not 1.0"),
        ({"momentum": 0.0}, "momentum must be above 0 for nesterov, not 0.0"),
        ({"weight_bits": 17}, r"weight_bits must be 2\.\.8, not 17"),
        ({"activation_bits": 1}, r"activation_bits must be 2\.\.8, not 1"),
        ({"edge_bits": 9}, r"edge_bits must be 2\.\.8, not 9"),
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, not -1"),
        ({"crop_padding": -1}, "crop_padding must be at least 0, not -1"),
        ({"early_crop": -1}, "early_crop must be at least 0, not -1"),
        (
            {"early_crop": 24},
            "early_crop must be above 0 where early_epochs is, which is 0, not 24",
        ),
        (
            {"early_epochs": 1},
            "early_crop must be above 0 where early_epochs is, which is 1, not 0",
        ),
        ({"training_images": -1}, "training_images must be at least 0, not -1"),
        ({"image_size": -1}, "image_size must be at least 0, not -1"),
        ({"accumulate": 0}, "accumulate must be at least 1, not 0"),
        ({"accumulate": 3}, "batch_size must be a multiple of accumulate 3, not 8"),
        ({"min_crop_area": 0.0}, "min_crop_area must be above 0 and at most 1, not 0.0"),
        ({"precision": "half"}, "precision must be one of float32, bfloat16, not 'half'"),
        ({"bfloat16": True}, "recipe key 'bfloat16' is unknown"),
        ({"step_start": "best"}, "step_start must be one of lsq, least-squares, min-max, not 'b"),
        (ASQ | {"adapter": "mlp"}, "adapter must be one of paper, log-linear, not 'mlp'"),
        (ASQ | {"adapter_rate": 0.0}, "adapter_rate must be above 0, not 0.0"),
        (ASQ | {"adapter_rate": float("nan")}, "adapter_rate must be above 0, not nan"),
        (ASQ | {"adapter_start": -1.0}, "adapter_start must be at least 0, not -1.0"),
        (ASQ | {"adapter_ratio": 0}, "adapter_ratio must be at least 1, not 0"),
        (ASQ | {"adapter_ratio": 4.0}, "adapter_ratio must be of type int, not 4.0"),
        (
            {"activations": "lsq", "adapter_rate": 2.0},
            "adapter_rate must be 1.0 where activations are lsq, not 2.0",
        ),
        ({"adapter_rate": 2.0}, "adapter_rate must be 1.0 where activations are none, not 2.0"),
        (
            {"activations": "asq-constant", "adapter": "log-linear"},
            "adapter must be paper where activations are asq-constant, not 'log-linear'",
        ),
        (
            {"activations": "pact", "adapter_start": 0.01},
            "adapter_start must be 0.001 where activations are pact, not 0.01",
        ),
        (
            ASQ | {"adapter": "log-linear", "adapter_ratio": 8},
            "adapter_ratio must be 4 where adapter is log-linear, not 8",
        ),
        ({"weights": "asq"}, r"weights must be one of none, lsq, .*, daq, not 'asq'"),
        ({"activations": 3}, r"activations must be one of none, lsq, lsq\+, asq, .*, not 3"),
        ({"encoding": "tight"}, "encoding must be one of packed, paper, zero-free, not 'tight'"),
    ],
)
def test_unusable_values_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipes.from_dict(MINIMAL | changes)


def test_a_missing_key_is_named() -> None:
    without = {key: value for key, value in MINIMAL.items() if key != "epochs"}
    with pytest.raises(InputError, match="recipe key 'epochs' is missing"):
        recipes.from_dict(without)


def test_an_override_needs_a_value() -> None:
    with pytest.raises(InputError, match="key=value, not 'epochs'"):
        recipes.load("digits-float", ["epochs"])


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"epochs = = 3", "is not TOML"), (b"\xff\xfe", "could not be read")],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        recipes.load(path)


def test_an_unknown_name_lists_what_is_known() -> None:
    with pytest.raises(InputError, match="one of ablation.*digits-asq-lsq-w4a4.*not 'resnet'"):
        recipes.load("resnet")


def test_layers_get_widths_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "mixed.toml"
    lines = [f"{key} = {value!r}".replace("'", '"') for key, value in MINIMAL.items()]
    lines += ['[layers."layer1.*"]', "weight_bits = 3", '[layers."layer1.0.conv1"]']
    path.write_text("\n".join([*lines, "activation_bits = 2", "weight_bits = 5"]))
    recipe = recipes.load(path)
    assert recipe.layers == (
        LayerRule(pattern="layer1.*", weight_bits=3),
        LayerRule(pattern="layer1.0.conv1", weight_bits=5, activation_bits=2),
    )
    assert recipes.from_dict(recipe.to_dict()) == recipe
    for name, widths in (
        ("layer1.0.conv1", (5, 2)),
        ("layer1.0.conv2", (3, 4)),
        ("layer2.0.conv1", (4, 4)),
    ):
        settings = recipe.of_layer(name, is_edge=False)
        assert (settings.weight_bits, settings.activation_bits) == widths


def test_layers_get_methods_of_their_own() -> None:
    rules = {"fc": {"weights": "post", "bits": 3}, "*.shortcut": {"activations": "asq"}}
    recipe = recipes.from_dict(
        MINIMAL | {"weights": "pot", "activations": "lsq", "layers": rules, "adapter_ratio": 8}
    )
    assert recipes.from_dict(recipe.to_dict()) == recipe
    assert recipe.weight_names == ("pot", "post") and recipe.activation_names == ("lsq", "asq")
    common = {"weight_bits": 4, "activation_bits": 4, "per_channel": False}
    assert recipe.of_layer("a.shortcut", is_edge=False) == LayerSettings(
        weights="pot", activations="asq", **common
    )
    # A rule that names the last layer holds there, too; what it leaves open is as in all edges.
    assert recipe.of_layer("fc", is_edge=True) == LayerSettings(
        weights="post", activations="lsq", weight_bits=3, activation_bits=3, per_channel=True
    )
    assert recipe.of_layer("stem", is_edge=True).weights == "lsq"


def test_methods_of_single_layers_count_where_integers_are_missing() -> None:
    rules = recipes.from_dict(MINIMAL | {"layers": {"fc": {"weights": "lq-net"}}}).layers
    how = Quantization(weights="lsq", activations="lsq", layers=rules)
    assert how.without_integers == ["weights lq-net"]
    alone = Quantization(layers=rules)
    assert alone.is_quantized
    assert alone.without_integers == ["weights none", "weights lq-net", "activations none"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (3, "layers must be a table of layers, not 3"),
        ({"fc": 3}, "layers.'fc' must be a table, not 3"),
        (
            {"fc": {"width": 3}},
            "layers.'fc'.width is unknown; the keys are weights, activations, b",
        ),
        ({"fc": {"bits": 9}}, r"layers.'fc'.weight_bits must be 2\.\.8, not 9"),
        ({"fc": {"weights": "asq"}}, "layers.'fc'.weights must be one of none, lsq, .*not 'asq'"),
        ({3: {"bits": 3}}, "layers must name layers by strings, not 3"),
        ({"fc": {"weight_bits": 1}}, r"layers.'fc'.weight_bits must be 2\.\.8, not 1"),
        ({"fc": {"activation_bits": True}}, r"activation_bits must be 2\.\.8, not True"),
    ],
)
def test_widths_of_layers_are_checked(layers: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recipes.from_dict(MINIMAL | {"layers": layers})


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "{a = " * 100_000])
def test_a_recipe_that_is_nested_without_end_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"deep.toml is (nested too deeply|not TOML)"):
        recipes.load(path)


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "../esc", "/tmp", "a/b", "a\\b", "a\nb", "a\0b", "n" * 1000]
)
def test_a_run_stays_in_its_folder(name: str) -> None:
    with pytest.raises(InputError, match="name"):
        recipes.from_dict(MINIMAL | {"name": name})


def test_a_run_s_name_may_have_blanks_dots_and_accents() -> None:
    assert recipes.from_dict(MINIMAL | {"name": "2bit net v1.0 é"}).name == "2bit net v1.0 é"


def nested(depth: int) -> list[object]:
    made: list[object] = []
    for _ in range(depth):
        made = [made]
    return made


@pytest.mark.parametrize("value", [10**5000, nested(100_000), "x" * 10_000], ids=type)
def test_a_value_of_any_size_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(InputError, match="epochs") as refused:
        recipes.from_dict(MINIMAL | {"epochs": value})
    assert len(str(refused.value)) < 300
