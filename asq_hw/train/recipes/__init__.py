"""Recipes: everything that decides how a network is trained, in one TOML file.

The files beside this module are shipped and known by name; `load` also takes a path.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Final, get_type_hints

from asq_hw.datasets.folders import MOST_IMAGE_SIZE
from asq_hw.errors import InputError
from asq_hw.files.reading import read_bounded
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, NONE
from asq_hw.train.recipes.layer_rules import LayerRule, rules_from_plain, rules_to_plain
from asq_hw.train.recipes.quantization import CHOICES, Quantization
from asq_hw.train.recipes.values import choose, shown

__all__ = [
    "LayerRule",
    "Precision",
    "Recipe",
    "from_dict",
    "load",
    "names",
    "own",
]


_RANGES: Final = {
    "epochs": (1, 1_000_000),
    "batch_size": (1, 1 << 24),
    "accumulate": (1, 1 << 24),
    "width": (1, 4096),
    "training_images": (0, 1 << 40),
    "warmup_epochs": (0, 1_000_000),
    "crop_padding": (0, 1024),
    "early_crop": (0, MOST_IMAGE_SIZE),
    "early_epochs": (0, 1_000_000),
    "freeze_bn_epochs": (0, 1_000_000),
    "integer_epochs": (0, 1_000_000),
    "seed": (0, (1 << 32) - 1),
    "image_size": (0, MOST_IMAGE_SIZE),
}
"""Smallest and largest value of each integer but the widths of codes."""
_MOST_BYTES: Final = 1 << 20
_MOST_NAME_BYTES: Final = 200


class Precision(StrEnum):
    """In which type convolutions and linear layers are computed in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


_CHOICES: Final = {**CHOICES, "precision": Precision}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Quantization):
    """How one network is trained.

    Parameters
    ----------
    name : str
        Name of the trained network.
    model, dataset : str
        What is trained (`asq_hw.train.models.names`, or ``FILE.py:BUILDER``) and on what
        (`asq_hw.datasets.NAMES`, or a folder or archive that `asq_hw.datasets.open_dataset` takes).
    width : int
        Channels of the network's first stage.
    adapter_rate : float
        Factor on the learning rate of what gives beta.
    training_images : int
        How many of the training images are used, from the first on; 0 for all.
    mean, std : tuple of float
        Of ``pixel / 255`` by channel: the network sees ``(pixel / 255 - mean) / std``. Empty: the
        data set's own.
    image_size : int
        Height and width of images in folders as the network sees them; 0 for the data set's own.
    epochs, batch_size : int
        Passes over the training images, and images in a step, over all processes and parts.
    accumulate : int
        Parts that a batch is divided into, one after another, where memory is short. Batch norm
        normalizes each part by itself.
    learning_rate, momentum, weight_decay : float
        Of SGD. The rate falls to zero on a half cosine; the decay acts on weights only.
    nesterov : bool
        Whether the momentum is Nesterov's.
    warmup_epochs : int
        Epochs in which the rate first rises linearly.
    label_smoothing : float
        Share of the target that is spread over all classes.
    crop_padding : int
        Zero padding, in pixels, from which images are cropped at random.
    early_crop, early_epochs : int
        Height and width of the crops in so many first epochs: convolutions cost less on them.
    flip : bool
        Whether images are mirrored at random.
    min_crop_area : float
        Smallest share of its area to which an image in a folder is cropped at random.
    sync_batch_norm : bool
        Whether batch norm takes its statistics from the images of all processes. If not, each
        normalizes by its own, and process 0's running statistics are kept.
    freeze_bn_epochs : int
        Last epochs in which batch norm keeps its statistics, so that the weights settle for
        the statistics that are exported.
    integer_epochs : int
        Last epochs in which the network computes in the integers that it is exported to
        (`asq_hw.train.export.forward`), as it does afterwards.
    precision : Precision
        In which type convolutions and linear layers train; quantizers and evaluation stay in
        float32.
    seed : int
        Of initial weights, order and augmentation.

    The rest is what is quantized, and how: `asq_hw.train.recipes.quantization.Quantization`. In the
    file, single layers have a table ``[layers."PATTERN"]`` each.
    """

    SUBJECT: ClassVar[str] = "recipe key "

    name: str
    model: str
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float
    width: int = 16
    adapter_rate: float = 1.0
    training_images: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: int = 0
    accumulate: int = 1
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = True
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    crop_padding: int = 0
    early_crop: int = 0
    early_epochs: int = 0
    flip: bool = False
    min_crop_area: float = 0.08
    sync_batch_norm: bool = True
    freeze_bn_epochs: int = 0
    integer_epochs: int = 0
    precision: Precision = Precision.FLOAT32
    seed: int = 1

    def __post_init__(self) -> None:
        Quantization.__post_init__(self)
        precision = choose("recipe key precision", self.precision, Precision)
        object.__setattr__(self, "precision", precision)
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            self.require(value >= low, key, f"at least {low}")
            self.require(value <= high, key, f"at most {high}")
        self.require(_is_folder_name(self.name), "name", "a name for a folder")
        self.require(0 < self.min_crop_area <= 1, "min_crop_area", "above 0 and at most 1")
        self.require(
            self.batch_size % self.accumulate == 0,
            "batch_size",
            f"a multiple of accumulate {self.accumulate}",
        )
        self.require(0 < self.learning_rate < float("inf"), "learning_rate", "above 0")
        self.require(
            (self.early_crop > 0) == (self.early_epochs > 0),
            "early_crop",
            f"above 0 where early_epochs is, which is {self.early_epochs}",
        )
        self._require_integers()
        self.require(0 <= self.weight_decay < float("inf"), "weight_decay", "at least 0")
        self.require(0 <= self.momentum < 1, "momentum", "in [0, 1)")
        self.require(0 <= self.label_smoothing < 1, "label_smoothing", "in [0, 1)")
        self.require(not self.nesterov or self.momentum > 0, "momentum", "above 0 for nesterov")
        self.require(0 < self.adapter_rate < float("inf"), "adapter_rate", "above 0")
        uses = [ACTIVATION_METHODS[name] for name in self.activation_names if name != NONE]
        learns_factor = any(use.learns_factor for use in uses)
        self.require_default(learns_factor, "adapter_rate", f"activations are {self.activations}")

    def _require_integers(self) -> None:
        """Refuse epochs in integers where there can be none."""
        key = "integer_epochs"
        self.require(
            self.integer_epochs <= self.freeze_bn_epochs,
            key,
            f"at most freeze_bn_epochs, {self.freeze_bn_epochs}: batch norm is folded in integers",
        )
        self.require(
            self.integer_epochs <= max(0, self.epochs - self.early_epochs),
            key,
            f"at most the epochs on whole images, {self.epochs - self.early_epochs}",
        )
        missing = self.without_integers
        self.require_default(not missing, key, f"{missing[0] if missing else ''} has no integers")
        self.require_default(self.is_quantized, key, "nothing is quantized")
        real = self.precision is Precision.FLOAT32
        self.require_default(real, key, f"precision is {self.precision}")

    def to_dict(self) -> dict[str, object]:
        """The recipe as plain values, as `from_dict` reads them."""
        plain = asdict(self) | {"layers": rules_to_plain(self.layers)}
        return {key: str(v) if isinstance(v, StrEnum) else v for key, v in plain.items()}


def _is_folder_name(name: str) -> bool:
    """Whether a run can be kept in a folder of that name: nowhere else than in ``runs``."""
    return (
        0 < len(name.encode("utf-8", "replace")) <= _MOST_NAME_BYTES
        and name.strip(" .") != ""
        and name.isprintable()
        and not {"/", "\\"} & set(name)
    )


def names() -> list[str]:
    """The names of the shipped recipes."""
    folder = files(__name__)
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name[-5:] == ".toml"
    )


def load(name_or_path: str | Path, overrides: Mapping[str, object] | Iterable[str] = ()) -> Recipe:
    """Load a shipped recipe by name, or one from a file.

    Parameters
    ----------
    name_or_path : str or Path
        One of `names`, or a path to a TOML file.
    overrides : mapping, or iterable of ``"key=value"``
        Values that replace those of the file.

    Raises
    ------
    InputError
        If there is no such recipe, or a key or a value cannot be used.

    Examples
    --------
    >>> recipe = load("digits-asq-post-w4a4", ["width=8"])
    >>> recipe.dataset, recipe.width, recipe.is_quantized
    ('digits', 8, True)
    """
    name = str(name_or_path)
    if name in names():
        text = files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    else:
        text = _read_file(Path(name))
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except RecursionError:
        raise InputError(f"recipe {name} is nested too deeply") from None
    except ValueError as error:  # not TOML, or a number of thousands of digits
        raise InputError(f"recipe {name} is not TOML: {str(error)[:200]}") from None
    pairs = overrides if isinstance(overrides, Mapping) else _parse_pairs(overrides)
    return from_dict(values | dict(pairs))


def _read_file(path: Path) -> str:
    if not path.exists():
        known = ", ".join(names())
        raise InputError(f"recipe must be one of {known}, or a TOML file, not {str(path)!r}")
    try:
        return read_bounded(path, "recipe", _MOST_BYTES).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"recipe {path} could not be read: {error}") from None


def _parse_pairs(pairs: Iterable[str]) -> dict[str, object]:
    parsed: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise InputError(f"a recipe value must be given as key=value, not {shown(pair)}")
        parsed[key.strip()] = value.strip()
    return parsed


def from_dict(values: Mapping[str, object]) -> Recipe:
    """Make a recipe from plain values; strings are read as the key's own type.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    hints = get_type_hints(Recipe)
    types = {field.name: hints[field.name] for field in fields(Recipe)}
    for key in values:
        if key not in types:
            known = ", ".join(types)
            raise InputError(f"recipe key {shown(key)} is unknown; the keys are {known}")
    for field in fields(Recipe):
        if field.default is MISSING and field.name not in values:
            raise InputError(f"recipe key {field.name!r} is missing")
    return Recipe(**{key: _coerce(key, value, types[key]) for key, value in values.items()})


def _coerce(key: str, value: object, wanted: type) -> Any:
    """Turn a plain value into the type of its key, without ever losing anything."""
    if key == "layers":
        return _layers(value)
    if key in ("mean", "std"):
        return _numbers(key, value)
    if key in _CHOICES:
        return choose(f"recipe key {key}", value, _CHOICES[key])
    if wanted is bool and value in ("true", "false"):
        return value == "true"
    if wanted in (int, float) and isinstance(value, str):
        with suppress(ValueError):
            return wanted(value)
    elif wanted is float and isinstance(value, int) and not isinstance(value, bool):
        with suppress(OverflowError):
            return float(value)
    elif type(value) is wanted:
        return value
    raise InputError(f"recipe key {key} must be of type {wanted.__name__}, not {shown(value)}")


def _layers(value: object) -> tuple[LayerRule, ...]:
    try:
        return rules_from_plain(value)
    except InputError as error:
        raise InputError(f"recipe key {error}") from None


def _numbers(key: str, value: object) -> tuple[float, ...]:
    """Read numbers, or a string of them between commas."""
    parts: object = value.split(",") if isinstance(value, str) and value else value or ()
    if isinstance(parts, list | tuple) and not any(isinstance(part, bool) for part in parts):
        with suppress(ValueError, TypeError):
            return tuple(float(part) for part in parts)
    raise InputError(f"recipe key {key} must be numbers, one for each channel, not {shown(value)}")


def own(model: str, dataset: str, overrides: Mapping[str, object] | Iterable[str] = ()) -> Recipe:
    """A recipe for a network of one's own: uniform in 8 bits, each output channel with its step.

    Parameters
    ----------
    model : str
        ``FILE.py:BUILDER``, ``NET.onnx``, or the name of a known network.
    dataset : str
        By name, or its folder or archive.
    overrides : mapping, or iterable of ``"key=value"``
        Values that replace those.

    Raises
    ------
    InputError
        If a key or a value cannot be used.
    """
    pairs = overrides if isinstance(overrides, Mapping) else _parse_pairs(overrides)
    values: dict[str, object] = {**_OWN, "model": model, "dataset": dataset, **pairs}
    recipe = from_dict({"name": "own"} | values)
    if "name" in values:
        return recipe
    stem = re.sub(
        r"[^A-Za-z0-9_.]+", "-", model.rpartition("/")[2].replace(".py:", "-").removesuffix(".onnx")
    )
    widths = f"w{recipe.weight_bits}a{recipe.activation_bits}" if recipe.is_quantized else "float"
    return replace(recipe, name=f"{stem.strip('-.') or 'own'}-{widths}")


_OWN: Final = {
    "weights": "lsq",
    "activations": "lsq",
    "weight_bits": 8,
    "activation_bits": 8,
    "per_channel": True,
    "step_start": "least-squares",
    "epochs": 1,
    "batch_size": 32,
    "learning_rate": 0.01,
    "weight_decay": 1e-4,
    "freeze_bn_epochs": 1,
}
"""A short training after post-training quantization."""
