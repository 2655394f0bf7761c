"""Recipes: everything that decides how a network is trained, in one TOML file.

The files beside this module are shipped and known by name; `load` also takes a path.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_type_hints

from asq_hw.datasets.folders import MOST_IMAGE_SIZE
from asq_hw.errors import InputError
from asq_hw.files.reading import read_bounded
from asq_hw.network.activation import ADAPTER_RATIO
from asq_hw.numbers.encoding import Encoding
from asq_hw.numbers.grids import MAX_BITS, MIN_BITS
from asq_hw.train.methods.adapting import ADAPTER_START, AdapterKind, AdapterSettings, StepStart
from asq_hw.train.methods.catalog import ACTIVATION_METHODS, ACTIVATION_NAMES, NONE, WEIGHT_NAMES
from asq_hw.train.recipes.layer_rules import LayerRule, rules_from_plain, rules_to_plain

__all__ = [
    "LayerRule",
    "Precision",
    "Recipe",
    "from_dict",
    "load",
    "names",
]


_RANGES: Final = {
    "epochs": (1, 1_000_000),
    "batch_size": (1, 1 << 24),
    "accumulate": (1, 1 << 24),
    "width": (1, 4096),
    "training_images": (0, 1 << 40),
    "warmup_epochs": (0, 1_000_000),
    "crop_padding": (0, 1024),
    "freeze_bn_epochs": (0, 1_000_000),
    "seed": (0, (1 << 32) - 1),
    "image_size": (0, MOST_IMAGE_SIZE),
    "adapter_ratio": (1, 1024),
}
"""Smallest and largest value of each integer but the widths of codes."""
_MOST_BYTES: Final = 1 << 20
_MOST_NAME_BYTES: Final = 200


class Precision(StrEnum):
    """In which type convolutions and linear layers are computed in training."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How one network is trained.

    Parameters
    ----------
    name : str
        Name of the trained network.
    model, dataset : str
        What is trained (`asq_hw.train.models.names`) and on what (`asq_hw.datasets.NAMES`, or a
        folder or archive that `asq_hw.datasets.open_dataset` takes).
    width : int
        Channels of the network's first stage.
    weights, activations : str
        Methods (`asq_hw.train.methods.catalog`) of all layers but the first and the last. With
        ``none`` for both the network stays in floating point.
    weight_bits, activation_bits : int
        Width of their codes.
    edge_bits : int
        Width of weights and activations in the first and the last layer, which stay uniform.
    encoding : Encoding
        Which levels POT and POST keep.
    per_channel : bool
        Whether each output channel learns an alpha (or step) of its own.
    step_start : StepStart
        Where LSQ's steps of weights and activations start.
    adapter : AdapterKind
        What ASQ's beta is a function of.
    adapter_rate : float
        Factor on the learning rate of what gives beta.
    adapter_start : float
        Deviation of an adapter's last weights at first.
    adapter_ratio : int
        Channels for each hidden value of the paper's adapter.
    training_images : int
        How many of the training images are used, from the first on; 0 for all.
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
    precision : Precision
        In which type convolutions and linear layers train; quantizers and evaluation stay in
        float32.
    seed : int
        Of initial weights, order and augmentation.
    layers : tuple of LayerRule
        Widths of single layers; in the file a table ``[layers."PATTERN"]`` for each.
    """

    name: str
    model: str
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float
    width: int = 16
    weights: str = NONE
    activations: str = NONE
    weight_bits: int = 4
    activation_bits: int = 4
    edge_bits: int = 8
    encoding: Encoding = Encoding.PACKED
    per_channel: bool = False
    step_start: StepStart = StepStart.LSQ
    adapter: AdapterKind = AdapterKind.PAPER
    adapter_rate: float = 1.0
    adapter_start: float = ADAPTER_START
    adapter_ratio: int = ADAPTER_RATIO
    training_images: int = 0
    image_size: int = 0
    accumulate: int = 1
    momentum: float = 0.9
    weight_decay: float = 0.0
    nesterov: bool = True
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    crop_padding: int = 0
    flip: bool = False
    min_crop_area: float = 0.08
    sync_batch_norm: bool = True
    freeze_bn_epochs: int = 0
    precision: Precision = Precision.FLOAT32
    seed: int = 1
    layers: tuple[LayerRule, ...] = ()

    def __post_init__(self) -> None:
        for key in _CHOICES:
            object.__setattr__(self, key, _choose(key, getattr(self, key)))
        for key in ("weight_bits", "activation_bits", "edge_bits"):
            _require(MIN_BITS <= getattr(self, key) <= MAX_BITS, self, key, "2..8")
        for key, (low, high) in _RANGES.items():
            value = getattr(self, key)
            _require(value >= low, self, key, f"at least {low}")
            _require(value <= high, self, key, f"at most {high}")
        _require(_is_folder_name(self.name), self, "name", "a name for a folder")
        _require(0 < self.min_crop_area <= 1, self, "min_crop_area", "above 0 and at most 1")
        _require(
            self.batch_size % self.accumulate == 0,
            self,
            "batch_size",
            f"a multiple of accumulate {self.accumulate}",
        )
        _require(0 < self.learning_rate < float("inf"), self, "learning_rate", "above 0")
        _require(0 <= self.weight_decay < float("inf"), self, "weight_decay", "at least 0")
        _require(0 <= self.momentum < 1, self, "momentum", "in [0, 1)")
        _require(0 <= self.label_smoothing < 1, self, "label_smoothing", "in [0, 1)")
        _require(not self.nesterov or self.momentum > 0, self, "momentum", "above 0 for nesterov")
        _require(0 < self.adapter_rate < float("inf"), self, "adapter_rate", "above 0")
        _require(0 <= self.adapter_start < float("inf"), self, "adapter_start", "at least 0")
        _require_effect(self)

    @property
    def adapters(self) -> AdapterSettings:
        """What adapters are made as."""
        return AdapterSettings(
            kind=self.adapter, start=self.adapter_start, ratio=self.adapter_ratio
        )

    @property
    def is_quantized(self) -> bool:
        """Whether any layer is quantized."""
        return self.weights != NONE or self.activations != NONE

    def to_dict(self) -> dict[str, object]:
        """The recipe as plain values, as `from_dict` reads them."""
        plain = asdict(self) | {"layers": rules_to_plain(self.layers)}
        return {key: str(v) if isinstance(v, StrEnum) else v for key, v in plain.items()}


_CHOICES: Mapping[str, type[StrEnum] | tuple[str, ...]] = {
    "weights": WEIGHT_NAMES,
    "activations": ACTIVATION_NAMES,
    "encoding": Encoding,
    "precision": Precision,
    "step_start": StepStart,
    "adapter": AdapterKind,
}
"""Keys whose values have names; from Python they may be given as plain strings."""


def _require(holds: bool, recipe: Recipe, key: str, rule: str) -> None:
    if not holds:
        raise InputError(f"recipe key {key} must be {rule}, not {_shown(getattr(recipe, key))}")


def _require_effect(recipe: Recipe) -> None:
    """Refuse a key for adapters where nothing would come of it."""
    use = ACTIVATION_METHODS.get(recipe.activations)
    has_adapter = use is not None and use.has_adapter
    activations, adapter = f"activations are {recipe.activations}", f"adapter is {recipe.adapter}"
    defaults = {field.name: field.default for field in fields(Recipe)}
    for key, holds, where in (
        ("adapter_rate", use is not None and use.learns_factor, activations),
        ("adapter", has_adapter, activations),
        ("adapter_start", has_adapter, activations),
        ("adapter_ratio", has_adapter, activations),
        ("adapter_ratio", recipe.adapter is AdapterKind.PAPER, adapter),
    ):
        is_default = getattr(recipe, key) == defaults[key]
        _require(holds or is_default, recipe, key, f"{defaults[key]} where {where}")


def _shown(value: object) -> str:
    """A value for a message; what is long or deep, or a number of thousands of digits, is cut."""
    try:
        text = repr(str(value) if isinstance(value, StrEnum) else value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


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
            raise InputError(f"a recipe value must be given as key=value, not {_shown(pair)}")
        parsed[key.strip()] = value.strip()
    return parsed


def from_dict(values: Mapping[str, object]) -> Recipe:
    """Make a recipe from plain values; strings are read as the key's own type.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value has the wrong type or is out of range.
    """
    types = get_type_hints(Recipe)
    for key in values:
        if key not in types:
            known = ", ".join(types)
            raise InputError(f"recipe key {_shown(key)} is unknown; the keys are {known}")
    for field in fields(Recipe):
        if field.default is MISSING and field.name not in values:
            raise InputError(f"recipe key {field.name!r} is missing")
    return Recipe(**{key: _coerce(key, value, types[key]) for key, value in values.items()})


def _coerce(key: str, value: object, wanted: type) -> Any:
    """Turn a plain value into the type of its key, without ever losing anything."""
    if key == "layers":
        return rules_from_plain(value)
    if key in _CHOICES:
        return _choose(key, value)
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
    raise InputError(f"recipe key {key} must be of type {wanted.__name__}, not {_shown(value)}")


def _choose(key: str, value: object) -> str:
    """Read a value that has a name, as a member of its enumeration where it has one."""
    choices = _CHOICES[key]
    if not isinstance(value, str) or value not in list(choices):
        known = ", ".join(choices)
        raise InputError(f"recipe key {key} must be one of {known}, not {_shown(value)}")
    return str(value) if isinstance(choices, tuple) else choices(str(value))
