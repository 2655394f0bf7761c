"""What ASQ costs in one layer, counted two ways: the paper's, and all that a chip holds and does.

Both count integers; a percentage is an exact fraction of them. The counts of a network are the
sums of its layers' counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from fractions import Fraction

from analysis.cost.shapes import LayerKind, LayerShape
from asq_hw.numbers.widths import ADAPTER_BITS, BIAS_BITS, MULTIPLIER_BITS, STEP_BITS

__all__ = [
    "Counts",
    "PaperCounts",
    "StoredCounts",
    "paper_counts",
    "paper_total",
    "stored_counts",
    "stored_total",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperCounts:
    """Eq. 10-16 as Table 1 of the paper has them.

    Attributes
    ----------
    bits : int
        Width B of the quantized layers.
    network_weights : int
        W, weights of every convolution, the first one included, no biases (Eq. 10).
    adapter_weights : int
        A, weights of the adapter of every quantized convolution, no biases (Eq. 11).
    network_multiplications : int
        M, multiplications of the quantized convolutions for one image (Eq. 12).
    """

    bits: int
    network_weights: int
    adapter_weights: int
    network_multiplications: int

    @property
    def adapter_operations(self) -> int:
        """Multiplications and additions of the adapters for one image, 2 A (Eq. 13)."""
        return 2 * self.adapter_weights

    @property
    def param_percent(self) -> Fraction:
        """``100 * 8 A / (B (W + A))``: the adapters stay at 8 bit, the network goes to B bits."""
        whole = self.bits * (self.network_weights + self.adapter_weights)
        return _percent(ADAPTER_BITS * self.adapter_weights, whole)

    @property
    def compute_percent(self) -> Fraction:
        """``100 * 8 (2 A) / (B M)``: operations weighted by their width in bits."""
        network = self.bits * self.network_multiplications
        return _percent(ADAPTER_BITS * self.adapter_operations, network)

    def as_dict(self) -> dict[str, int]:
        """The counts by name, without the width."""
        return {
            "network_weights": self.network_weights,
            "adapter_weights": self.adapter_weights,
            "network_multiplications": self.network_multiplications,
            "adapter_operations": self.adapter_operations,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCounts:
    """What a chip holds (in bits) and does (operations for one image), ASQ's own share apart.

    An operation weighs as many bits as the operand it reads from memory or register is wide;
    the paper weighs the same way. Not counted, because ASQ changes nothing in them: residual
    additions, pooling between layers, shift amounts and clamp limits.

    Attributes
    ----------
    weight_bits : int
        Weights of all layers, classifier included, in the width their grid stores.
    multiplier_bits, bias_bits : int
        Requantization multiplier and folded-batch-norm bias of every output channel.
    step_bits : int
        Step sizes of the layers without an adapter.
    adapter_weight_bits, adapter_bias_bits : int
        Weights and biases of the adapters.
    adapter_scale_bits : int
        One multiplier for the channel means and one for each of the adapter's linear layers;
        the last one holds the learned step size s. A layer that takes the adapter of its block
        has one multiplier.
    buffer_bits : int
        The feature map that is kept until the mean of its last channel, or its largest value, is
        known. One layer runs at a time, so a network needs its largest, not their sum.
    multiplications : int
        Of all layers; there are as many additions.
    multiply_accumulate_bits : int
        These multiplications and additions, weighted by the stored width of the weight.
    requantization_bits : int
        One multiplication and one bias addition for every output element, weighted.
    pooling_additions, pooling_multiplications : int
        One addition for every input element, one multiplication for every channel mean.
    pooling_bits : int
        The same, weighted.
    adapter_multiplications : int
        Of the adapters' linear layers; there are as many additions.
    adapter_operation_bits : int
        The same, weighted, and one multiplication and bias addition for each adapter output; one
        multiplication where a layer takes the adapter of its block.
    threshold_additions : int
        To build ``2**b - 1`` odd multiples of the step: all but the first are one addition.
    comparisons : int
        b for every input element, a binary search over the thresholds. A fixed step needs none:
        it is part of the requantization before. A shared exponent needs one, for the largest
        magnitude; its codes and multipliers are shifts.
    threshold_bits : int
        These additions and comparisons, weighted.
    multiplier_updates : int
        Step times multiplier, once for every output channel of an image; fixed steps need none.
    multiplier_update_bits : int
        The same, weighted.
    """

    weight_bits: int
    multiplier_bits: int
    bias_bits: int
    step_bits: int
    adapter_weight_bits: int
    adapter_bias_bits: int
    adapter_scale_bits: int
    buffer_bits: int
    multiplications: int
    multiply_accumulate_bits: int
    requantization_bits: int
    pooling_additions: int
    pooling_multiplications: int
    pooling_bits: int
    adapter_multiplications: int
    adapter_operation_bits: int
    threshold_additions: int
    comparisons: int
    threshold_bits: int
    multiplier_updates: int
    multiplier_update_bits: int

    @property
    def network_storage_bits(self) -> int:
        """What the network holds without ASQ."""
        return self.weight_bits + self.multiplier_bits + self.bias_bits + self.step_bits

    @property
    def asq_storage_bits(self) -> int:
        """What ASQ adds to it, the buffer not included."""
        return self.adapter_weight_bits + self.adapter_bias_bits + self.adapter_scale_bits

    @property
    def network_operation_bits(self) -> int:
        """What the network does without ASQ, in bits times operations."""
        return self.multiply_accumulate_bits + self.requantization_bits

    @property
    def asq_operation_bits(self) -> int:
        """What ASQ adds to it, in bits times operations."""
        return (
            self.pooling_bits
            + self.adapter_operation_bits
            + self.threshold_bits
            + self.multiplier_update_bits
        )

    @property
    def param_percent(self) -> Fraction:
        """ASQ's share of everything stored; its own bits are in the denominator, as in Eq. 15."""
        return _percent(self.asq_storage_bits, self.network_storage_bits + self.asq_storage_bits)

    @property
    def compute_percent(self) -> Fraction:
        """ASQ's operations against the network's own, as in Eq. 16."""
        return _percent(self.asq_operation_bits, self.network_operation_bits)

    def as_dict(self) -> dict[str, int]:
        """The counts and their sums by name."""
        return {
            **asdict(self),
            "network_storage_bits": self.network_storage_bits,
            "asq_storage_bits": self.asq_storage_bits,
            "network_operation_bits": self.network_operation_bits,
            "asq_operation_bits": self.asq_operation_bits,
        }


Counts = PaperCounts | StoredCounts


def paper_counts(layer: LayerShape, bits: int) -> PaperCounts:
    """A layer's part of Eq. 10-13; a classifier's is 0, a first convolution's weights."""
    is_convolution = layer.kind is LayerKind.CONVOLUTION
    is_counted = is_convolution and layer.quantized
    return PaperCounts(
        bits=bits,
        network_weights=layer.weights if is_convolution else 0,
        adapter_weights=layer.adapter_weights if is_counted else 0,
        network_multiplications=layer.multiplications if is_counted else 0,
    )


def paper_total(layers: Iterable[PaperCounts], bits: int) -> PaperCounts:
    """The sums over a network's layers."""
    counts = tuple(layers)
    return PaperCounts(
        bits=bits,
        network_weights=sum(c.network_weights for c in counts),
        adapter_weights=sum(c.adapter_weights for c in counts),
        network_multiplications=sum(c.network_multiplications for c in counts),
    )


def stored_counts(layer: LayerShape, weight_bits: int, activation_bits: int) -> StoredCounts:
    """What one layer holds and does, with weights and input codes of the given widths."""
    channels = layer.in_channels if layer.has_adapter else 0
    inputs = layer.inputs if layer.has_adapter else 0
    updates = layer.out_channels if layer.has_adaptive_step else 0
    threshold_additions = (1 << activation_bits) - 2 if layer.has_adaptive_step else 0
    compared = layer.inputs if layer.has_adaptive_step else 0
    comparisons = activation_bits * compared + (layer.inputs if layer.shares_exponent else 0)
    shared_bits = MULTIPLIER_BITS if layer.shares_adapter else 0
    rescale_bits = MULTIPLIER_BITS + BIAS_BITS
    return StoredCounts(
        weight_bits=layer.weights * weight_bits,
        multiplier_bits=layer.out_channels * MULTIPLIER_BITS,
        bias_bits=layer.out_channels * BIAS_BITS,
        step_bits=0 if layer.waits_for_input or layer.shares_adapter else STEP_BITS,
        adapter_weight_bits=layer.adapter_weights * ADAPTER_BITS,
        adapter_bias_bits=layer.adapter_outputs * BIAS_BITS,
        adapter_scale_bits=shared_bits
        + ((1 + layer.adapter_stages) * MULTIPLIER_BITS if layer.has_adapter else 0),
        buffer_bits=layer.inputs * layer.feature_bits if layer.waits_for_input else 0,
        multiplications=layer.multiplications,
        multiply_accumulate_bits=2 * layer.multiplications * weight_bits,
        requantization_bits=layer.outputs * rescale_bits,
        pooling_additions=inputs,
        pooling_multiplications=channels,
        pooling_bits=inputs * layer.feature_bits + channels * MULTIPLIER_BITS,
        adapter_multiplications=layer.adapter_weights,
        adapter_operation_bits=(
            2 * layer.adapter_weights * ADAPTER_BITS
            + layer.adapter_outputs * rescale_bits
            + shared_bits
        ),
        threshold_additions=threshold_additions,
        comparisons=comparisons,
        threshold_bits=threshold_additions * STEP_BITS + comparisons * layer.feature_bits,
        multiplier_updates=updates,
        multiplier_update_bits=updates * MULTIPLIER_BITS,
    )


def stored_total(layers: Iterable[StoredCounts]) -> StoredCounts:
    """The sums over a network's layers; of the buffer, the largest."""
    counts = tuple(layers)
    sums = {f.name: sum(getattr(c, f.name) for c in counts) for f in fields(StoredCounts)}
    sums["buffer_bits"] = max((c.buffer_bits for c in counts), default=0)
    return StoredCounts(**sums)


def _percent(part: int, whole: int) -> Fraction:
    """``100 * part / whole``; nothing of nothing is 0."""
    return Fraction(100 * part, whole) if whole else Fraction(0)
