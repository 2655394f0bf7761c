"""The units around one layer of a network, with widths that follow from the network itself.

The layer before a convolution or linear layer can give any integer of its feature map's format
(docs/arithmetic.md, section 2); every width here is derived from that, from the layer's constants
and, for dot products, from its own weights (`asq_hw.network.bounds`). A width that is asked for may
be larger, never smaller; what is a constant of the layer cannot be another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from asq_hw.errors import InputError
from asq_hw.network.activation import AdaptiveStep, FixedStep
from asq_hw.network.bounds import Range
from asq_hw.network.feature_map import FeatureMap
from asq_hw.network.graph import IntegerNetwork
from asq_hw.network.layers import Conv, Linear
from asq_hw.network.log_linear import LogLinearStep
from asq_hw.network.shared_adapter import SharedAdapterStep
from asq_hw.network.shared_exponent import SharedExponentStep
from asq_hw.numbers.fixedpoint import exp2, integer_range, shift_right_half_up
from asq_hw.numbers.products import Product
from rtl.quantizer.activation import FeatureQuantizer
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.constant import ConstantQuantizer
from rtl.quantizer.exponent import ExponentFinder
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer

__all__ = ["LayerUnits", "at_least", "exactly"]


def at_least(what: str, given: int | None, needed: int, layer: str) -> int:
    """The width that was asked for, or the needed one; one that is too small is refused.

    Parameters
    ----------
    what : str
        Its name in messages.
    given : int or None
        What was asked for, if anything.
    needed : int
        What the layer needs.
    layer : str
        The layer's name.
    """
    if given is not None and given < needed:
        raise InputError(f"{what} of layer {layer} must be at least {needed}, not {given}")
    return needed if given is None else given


def exactly(what: str, given: int | None, constant: int, layer: str) -> int:
    """A constant of the layer; another one is refused.

    Parameters
    ----------
    what : str
        Its name in messages.
    given : int or None
        What was asked for, if anything.
    constant : int
        The layer's.
    layer : str
        The layer's name.
    """
    if given is not None and given != constant:
        raise InputError(f"{what} of layer {layer} must be {constant}, not {given}")
    return constant


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerUnits:
    """The units around one convolution or linear layer.

    Parameters
    ----------
    network : IntegerNetwork
        Whose layer it is.
    layer : Conv or Linear
        The layer.
    product : Product
        How its dot products are made; `of` and `every` take what the network was trained for.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from asq_hw.modelfile import load
    >>> network = load(files("asq_hw") / "bundled" / "fashion-mnist-resnet20-w4a4.asq")
    >>> LayerUnits.of(network, "layer3.2.conv2").adapter().channels
    64
    """

    network: IntegerNetwork
    layer: Conv | Linear
    product: Product = field(default_factory=Product)

    @staticmethod
    def of(network: IntegerNetwork, name: str | None, *, adaptive: bool = False) -> LayerUnits:
        """The units of the layer of that name, or of the first one that there is.

        Parameters
        ----------
        network : IntegerNetwork
            The network.
        name : str or None
            The layer's name.
        adaptive : bool
            Whether only layers with an adaptive step count.

        Raises
        ------
        InputError
            If there is no such layer.
        """
        for units in LayerUnits.every(network):
            if units.layer.name == name and adaptive:
                _ = units.adaptive_step  # which says what the layer has instead
        every = {units.layer.name: units for units in LayerUnits.every(network, adaptive=adaptive)}
        name = next(iter(every)) if name is None else name
        if name not in every:
            raise InputError(f"layer must be one of {', '.join(every)}, not {name[:80]!r}")
        return every[name]

    @staticmethod
    def every(network: IntegerNetwork, *, adaptive: bool = False) -> list[LayerUnits]:
        """The units of each layer in turn; with `adaptive`, of those that have an adapter.

        Raises
        ------
        InputError
            If there is no such layer.
        """
        layers = [layer for layer in network.layers if isinstance(layer, Conv | Linear)]
        if not layers:
            raise InputError(f"no layer of {network.name} has weights")
        product = network.trained_product
        every = [LayerUnits(network=network, layer=layer, product=product) for layer in layers]
        if not adaptive:
            return every
        chosen = [u for u in every if isinstance(u.layer.quantizer.step, AdaptiveStep)]
        if not chosen:
            kinds = {type(layer.quantizer.step) for layer in layers}
            instead = "; its log-linear steps have no circuit" if LogLinearStep in kinds else ""
            raise InputError(f"no layer of {network.name} has an adapter{instead}")
        return chosen

    @property
    def source(self) -> FeatureMap:
        """What the layer before gives."""
        return self.network.feature_maps()[self.layer.source]

    @property
    def adaptive_step(self) -> AdaptiveStep:
        """The layer's adapter and pooling.

        Raises
        ------
        InputError
            If the layer has a step of another kind.
        """
        step, name = self.layer.quantizer.step, self.layer.name
        match step:
            case AdaptiveStep():
                return step
            case FixedStep():
                raise InputError(f"layer {name} has no adapter: its step is fixed")
            case LogLinearStep():
                raise InputError(f"layer {name} has a log-linear step, which has no circuit")
            case SharedExponentStep():
                raise InputError(f"layer {name} has no adapter: its step is a shared exponent's")
            case SharedAdapterStep(layer=first):
                raise InputError(f"layer {name} has no adapter of its own: it takes {first}'s")
            case _:
                assert_never(step)

    @property
    def shared_exponent(self) -> SharedExponentStep:
        """The layer's step, as a power of two from the sample's largest feature.

        Raises
        ------
        InputError
            If the layer has a step of another kind.
        """
        step = self.layer.quantizer.step
        if isinstance(step, SharedExponentStep):
            return step
        raise InputError(f"layer {self.layer.name} has no shared exponent: its step is another's")

    @property
    def means(self) -> Range:
        """Every channel mean that the layer's pooling can give."""
        step = self.adaptive_step
        _, height, width = self.source.shape
        low, high = (
            shift_right_half_up(step.pool_multiplier * height * width * end, step.pool_shift)
            for end in integer_range(self.source.format.bits)
        )
        return Range(low=low, high=high)

    @property
    def steps(self) -> Range:
        """Every step that the layer can be given."""
        step = self.layer.quantizer.step
        match step:
            case FixedStep():
                low = step.step
            case AdaptiveStep():
                low = step.stages[-1].minimum
            case LogLinearStep():
                low = exp2(step.lowest)
            case SharedExponentStep():
                low = 1 << step.lowest
            case SharedAdapterStep():
                low = step.minimum
            case _:
                assert_never(step)
        return Range(low=low, high=step.maximum)

    @property
    def multipliers(self) -> Range:
        """Every multiplier of a sample and channel, ``rshift(D * M, narrow_shift)``."""
        made = [
            shift_right_half_up(step * multiplier, self.layer.narrow_shift)
            for step in (self.steps.low, self.steps.high)
            for multiplier in self.layer.multiplier.tolist()
        ]
        return Range(low=min(made), high=max(made))

    @property
    def sums(self) -> tuple[Range, ...]:
        """Every dot product V, or every even and every odd sum."""
        return self.layer.accumulator_ranges(self.product)

    def pooling(
        self,
        *,
        feature_bits: int | None = None,
        elements: int | None = None,
        multiplier: int | None = None,
        shift: int | None = None,
    ) -> PoolingAccumulator:
        """The layer's pooling accumulator.

        Parameters
        ----------
        feature_bits, elements : int, optional
            Width of a feature, and features of a channel: `at_least` the layer's, the default.
        multiplier, shift : int, optional
            `exactly` the layer's.
        """
        step, name = self.adaptive_step, self.layer.name
        _, height, width = self.source.shape
        bits = self.source.format.bits
        return PoolingAccumulator(
            layer=name,
            feature_bits=at_least("feature bits", feature_bits, bits, name),
            elements=at_least("elements", elements, height * width, name),
            multiplier=exactly("the pooling multiplier", multiplier, step.pool_multiplier, name),
            shift=exactly("the pooling shift", shift, step.pool_shift, name),
        )

    def exponent(
        self,
        *,
        feature_bits: int | None = None,
        offset: int | None = None,
        lowest: int | None = None,
        highest: int | None = None,
    ) -> ExponentFinder:
        """The finder of the layer's shared exponent.

        Parameters
        ----------
        feature_bits : int, optional
            Width of a feature: `at_least` the layer's, which is the default.
        offset, lowest, highest : int, optional
            `exactly` the layer's.
        """
        step, name, own = self.shared_exponent, self.layer.name, self.layer.quantizer
        needed = ExponentFinder.offset_for(own.grid, own.step_fraction_bits)
        return ExponentFinder(
            layer=name,
            feature_bits=at_least("feature bits", feature_bits, self.source.format.bits, name),
            offset=exactly("the offset", offset, needed, name),
            lowest=exactly("the lowest exponent", lowest, step.lowest, name),
            highest=exactly("the highest exponent", highest, step.highest, name),
        )

    def adapter(self, kind: type[Adapter] = Adapter, *, mean_bits: int | None = None) -> Adapter:
        """The layer's adapter in one of its arrangements.

        Parameters
        ----------
        kind : type of Adapter
            The arrangement.
        mean_bits : int, optional
            Width of a mean: `at_least` what the layer's means need, which is the default.
        """
        bits = at_least("mean bits", mean_bits, max(2, self.means.bits), self.layer.name)
        stages = self.adaptive_step.stages
        return kind(layer=self.layer.name, stages=stages, mean_bits=bits)

    def quantizer(
        self,
        kind: type[FeatureQuantizer],
        *,
        bits: int | None = None,
        signed: bool = False,
        feature_bits: int | None = None,
        step_fraction_bits: int | None = None,
        step: int | None = None,
    ) -> FeatureQuantizer:
        """The layer's activation quantizer in one of its arrangements.

        Parameters
        ----------
        kind : type of FeatureQuantizer
            The arrangement.
        bits : int, optional
            Width of a code: `exactly` the layer's.
        signed : bool
            Whether codes must be two's complement.
        feature_bits : int, optional
            Width of a feature: `at_least` the layer's, which is the default.
        step_fraction_bits : int, optional
            `exactly` the layer's.
        step : int, optional
            `exactly` the layer's, where the arrangement has a constant step.
        """
        own, name = self.layer.quantizer, self.layer.name
        constant = {}
        if issubclass(kind, ConstantQuantizer):
            if not isinstance(own.step, FixedStep):
                raise InputError(f"layer {name} has no constant step: its samples have their own")
            constant = {"step": exactly("the step", step, own.step.step, name)}
        if signed and not own.grid.signed:
            raise InputError(f"activation codes of layer {name} must be unsigned, not signed")
        fraction = own.step_fraction_bits
        return kind(
            layer=name,
            bits=exactly("activation bits", bits, own.grid.bits, name),
            signed=own.grid.signed,
            feature_bits=at_least("feature bits", feature_bits, self.source.format.bits, name),
            step_fraction_bits=exactly("step fraction bits", step_fraction_bits, fraction, name),
            **constant,
        )

    def requantizer(
        self,
        *,
        value_bits: int | None = None,
        multiplier_bits: int | None = None,
        shift: int | None = None,
        bits: int | None = None,
        pair: bool = False,
    ) -> Requantizer:
        """The layer's requantizer.

        Parameters
        ----------
        value_bits, multiplier_bits : int, optional
            Widths: `at_least` what the layer's sums and multipliers need, which is the default.
        shift, bits : int, optional
            Right shift, and width of a feature: `exactly` the layer's.
        pair : bool
            Whether even and odd sums must be taken.
        """
        layer, name = self.layer, self.layer.name
        sums, multipliers = self.sums, self.multipliers
        if pair and len(sums) == 1:
            raise InputError(f"layer {name} has no pair of sums: its weights have no odd part")
        fraction = self.product.fraction_bits(layer.weight_grid)
        needed = max(2, *(bound.bits for bound in sums))
        return Requantizer(
            layer=name,
            value_bits=at_least("value bits", value_bits, needed, name),
            multiplier_bits=at_least(
                "multiplier bits", multiplier_bits, max(2, multipliers.bits), name
            ),
            shift=exactly("the shift", shift, layer.shift + fraction, name),
            bits=exactly("feature bits", bits, layer.output.bits, name),
            pair=len(sums) == 2,
        )
