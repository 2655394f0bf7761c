"""Activation quantizers: their bases, and the learned step of LSQ, which ASQ adapts.

LSQ (arXiv:1902.08153) multiplies a step's gradient by ``1 / sqrt(N * Qp)``, N the number of
elements of its input. We count the elements of one sample, since the loss is already a mean over
samples. For ASQ the scale is the step's alone (Eq. 8); beta's gradient (Eq. 9) is left as it is,
so that the adapter learns at the pace of a layer of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from asq_hw.errors import InputError
from asq_hw.numbers.grids import Grid
from asq_hw.numbers.odd_codes import odd_code_range
from asq_hw.numbers.schemes import UNIFORM
from asq_hw.train.methods.adapting import StepStart
from asq_hw.train.quantizers.adapter import Adapter, channel_means
from asq_hw.train.quantizers.gradients import with_channel_means
from asq_hw.train.quantizers.initial_scales import first_step
from asq_hw.train.quantizers.observation import Observation
from asq_hw.train.quantizers.positive import PositiveParameter
from asq_hw.train.quantizers.quantizer import Quantizer
from asq_hw.train.quantizers.rounding import round_uniform

__all__ = [
    "ActivationQuantizer",
    "BaseActivationQuantizer",
    "IntegerActivationQuantizer",
    "OneStepActivationQuantizer",
]


class BaseActivationQuantizer(ABC, Quantizer):
    """Base of all activation quantizers; they start from the first training batch.

    Parameters
    ----------
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.

    Attributes
    ----------
    grid : Grid
        The uniform grid of the codes.
    adapter : Adapter or None
        What adapts the step to each sample; ASQ has one.
    """

    has_odd_codes = False
    """Whether there is `odd`."""

    is_initialised: Tensor  # checkpoints hold it in this spelling
    adapter: Adapter | None

    def __init__(self, *, bits: int, signed: bool) -> None:
        super().__init__()
        self.grid = Grid(scheme=UNIFORM, bits=bits, signed=signed)
        self.adapter = None
        self.register_buffer("is_initialised", torch.tensor(False))

    @property
    def bits(self) -> int:
        """Width of the codes."""
        return self.grid.bits

    @property
    def signed(self) -> bool:
        """Whether the codes can be negative."""
        return self.grid.signed

    @property
    def is_adaptive(self) -> bool:
        """Whether each sample has a step of its own."""
        return self.adapter is not None

    def factor_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what gives the factor on the step: the adapter's parameters, or none."""
        if self.adapter is not None:
            yield from self.adapter.parameters()

    def forward(self, x: Tensor) -> Tensor:
        """The quantized input, in its own shape and type.

        Raises
        ------
        InputError
            If the network is evaluated before it was calibrated or saw a training batch.
        """
        if not self.is_initialised:
            if not self.training:
                raise InputError(
                    "a quantized network must be calibrated, or see a training batch, before it "
                    "is evaluated"
                )
            self._initialize(x.detach())
            self.is_initialised.fill_(True)
        return self._quantize(x)

    def odd(self, x: Tensor) -> Tensor:
        """The input by its odd codes, quantized for weights that are odd powers (``post-dual``).

        That is ``sqrt(2) * x`` in the same steps, over ``sqrt(2)``. The quantizer has started: it
        has quantized the same input before.
        """
        raise NotImplementedError

    def start(self, seen: Observation, how: StepStart) -> None:
        """Set what is learned from what was seen of the input, anew if it was set before."""
        self._start(seen, how)
        self.is_initialised.fill_(True)

    def _start(self, seen: Observation, how: StepStart) -> None:
        """Set what is learned as a method without a choice of its step does."""
        del how
        self._initialize(seen.drawn().to(self.is_initialised.device))

    @abstractmethod
    def _initialize(self, x: Tensor) -> None:
        """Set what is learned from the first batch."""

    @abstractmethod
    def _quantize(self, x: Tensor) -> Tensor:
        """The quantized input."""

    def _gradient_scale(self, x: Tensor) -> float:
        """LSQ's ``1 / sqrt(N * Qp)``, for the N elements of a sample."""
        return 1 / math.sqrt(x.numel() // len(x) * self.grid.maximum)


class IntegerActivationQuantizer(BaseActivationQuantizer):
    """Base of those whose quantized activations are an integer code times a sample's step."""

    @abstractmethod
    def steps(self, x: Tensor) -> Tensor:
        """The step of each sample of an input, ``(N,)``."""


class OneStepActivationQuantizer(IntegerActivationQuantizer):
    """Base of those that learn one step, which an adapter may give each sample a factor on."""

    @abstractmethod
    def step(self) -> Tensor:
        """The step that acts, of shape ``()``; with an adapter, before beta."""

    def steps(self, x: Tensor) -> Tensor:
        """The step of each sample of an input, ``(N,)``."""
        step = self.step()
        return step.expand(len(x)) if self.adapter is None else self.adapter(x) * step


class ActivationQuantizer(OneStepActivationQuantizer):
    """LSQ on activations, or with an adapter ASQ: one step for each sample (Eq. 4-6).

    Parameters
    ----------
    bits : int
        Width of the codes.
    signed : bool
        Whether the input can be negative.
    adapter : Adapter, optional
        Gives each sample's factor on the step.
    step_start : StepStart
        Where the step starts.
    """

    has_odd_codes = True

    def __init__(
        self,
        *,
        bits: int,
        signed: bool,
        adapter: Adapter | None = None,
        step_start: StepStart = StepStart.LSQ,
    ) -> None:
        super().__init__(bits=bits, signed=signed)
        self.adapter, self.step_start = adapter, step_start
        self.learned = PositiveParameter(())

    def step(self) -> Tensor:
        """The step s that acts, of shape ``()``; with an adapter, before beta."""
        step: Tensor = self.learned()
        return step

    def _start(self, seen: Observation, how: StepStart) -> None:
        self.learned.initialize(seen.step(self.grid, how))
        if self.adapter is not None:
            self.adapter.start(seen.means().to(self.is_initialised.device))

    def _initialize(self, x: Tensor) -> None:
        self.learned.initialize(first_step(x, self.grid, self.step_start))
        if self.adapter is not None:
            self.adapter.start(channel_means(x))

    def odd(self, x: Tensor) -> Tensor:
        """The input by its odd codes; nothing that watches the adapter sees it twice."""
        x, means = self._with_means(x)
        beta = None if self.adapter is None else self.adapter.forward(means)
        root = math.sqrt(2)
        return self._round(x * root, odd_code_range(self.grid), beta) / root

    def _quantize(self, x: Tensor) -> Tensor:
        x, means = self._with_means(x)
        beta = None if self.adapter is None else self.adapter(means)
        return self._round(x, (self.grid.minimum, self.grid.maximum), beta)

    def _with_means(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The input, and what the adapter reads of it."""
        if self.adapter is None or not self.adapter.reads_input or x.dim() != 4:
            return x, x
        return with_channel_means(x)

    def _round(self, x: Tensor, ends: tuple[int, int], beta: Tensor | None) -> Tensor:
        return round_uniform(
            x,
            self.learned.value,
            *ends,
            beta=beta,
            floor=self.learned.floor,
            gradient_factor=self._gradient_scale(x),
            loops=self.loops,
        )
