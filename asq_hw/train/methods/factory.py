"""From the name of a method to its quantizer."""

from __future__ import annotations

from typing import assert_never

from torch import Tensor

from asq_hw.numbers.grids import Encoding, Grid, Scheme
from asq_hw.train.methods import activations, weights
from asq_hw.train.methods.catalog import ActivationMethod, WeightMethod
from asq_hw.train.methods.lq_net import LqNetActivationQuantizer, LqNetWeightQuantizer
from asq_hw.train.quantizers.activations import ActivationQuantizer, BaseActivationQuantizer
from asq_hw.train.quantizers.adapter import Adapter
from asq_hw.train.quantizers.weights import WeightQuantizer, make_weight_quantizer

__all__ = ["activation_quantizer", "weight_quantizer"]


def weight_quantizer(
    method: WeightMethod, weight: Tensor, *, bits: int, encoding: Encoding, per_channel: bool
) -> WeightQuantizer | None:
    """Make a method's quantizer for a layer's weights; None leaves them real.

    Raises
    ------
    InputError
        If the method does not go with the width.
    """
    uniform = Grid(scheme=Scheme.UNIFORM, bits=bits)
    match method:
        case WeightMethod.NONE:
            return None
        case WeightMethod.LSQ:
            return make_weight_quantizer(uniform, weight, per_channel=per_channel)
        case WeightMethod.POT | WeightMethod.POST:
            grid = Grid(scheme=Scheme(method), bits=bits, encoding=encoding)
            return make_weight_quantizer(grid, weight, per_channel=per_channel)
        case WeightMethod.APOT:
            grid = Grid(scheme=Scheme.APOT, bits=bits)
            return make_weight_quantizer(grid, weight, per_channel=per_channel)
        case WeightMethod.LSQ_PLUS:
            return weights.LsqPlusWeightQuantizer(uniform, weight, per_channel=per_channel)
        case WeightMethod.DOREFA:
            return weights.DorefaWeightQuantizer(bits)
        case WeightMethod.LQ_NET:
            return LqNetWeightQuantizer(bits, weight, per_channel=per_channel)
        case WeightMethod.QIL:
            return weights.QilWeightQuantizer(uniform, weight, per_channel=per_channel)
        case WeightMethod.DSQ:
            return weights.DsqWeightQuantizer(uniform, weight, per_channel=per_channel)
        case WeightMethod.DAQ:
            return weights.DaqWeightQuantizer(uniform, weight, per_channel=per_channel)
    assert_never(method)


def activation_quantizer(
    method: ActivationMethod, *, channels: int, bits: int, signed: bool
) -> BaseActivationQuantizer | None:
    """Make a method's quantizer for a layer's input of so many channels; None leaves it real."""
    match method:
        case ActivationMethod.NONE:
            return None
        case ActivationMethod.LSQ:
            return ActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.ASQ:
            return ActivationQuantizer(bits=bits, signed=signed, adapter=Adapter(channels))
        case ActivationMethod.LSQ_PLUS:
            return activations.LsqPlusActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.PACT:
            return activations.PactActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.DOREFA:
            return activations.DorefaActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.LQ_NET:
            return LqNetActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.QIL:
            return activations.QilActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.DSQ:
            return activations.DsqActivationQuantizer(bits=bits, signed=signed)
        case ActivationMethod.DAQ:
            return activations.DaqActivationQuantizer(bits=bits, signed=signed)
    assert_never(method)
