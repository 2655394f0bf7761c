"""Options that ``rtl``, ``verify`` and ``synth`` share: a unit, and what is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asq_hw.cli.options import integer
from asq_hw.numbers.encoding import Encoding

__all__ = [
    "AccumulatorBitsOption",
    "ActivationBitsOption",
    "ArrangementOption",
    "ClockOption",
    "CodeBitsOption",
    "CyclesOption",
    "FeatureBitsOption",
    "ForceOption",
    "GridOption",
    "JobsOption",
    "LayerOption",
    "MethodOption",
    "ModelArgument",
    "MultiplierBitsOption",
    "MutantsOption",
    "OutputBitsOption",
    "OutputOption",
    "PairOption",
    "PnrOption",
    "SchemeOption",
    "SeedsOption",
    "ShiftOption",
    "SignedActivationsOption",
    "SignedCodesOption",
    "StepFractionBitsOption",
    "StyleOption",
    "TargetOption",
    "ValueBitsOption",
    "WeightBitsOption",
]

# Multiply-accumulate and dot-product units

SchemeOption = Annotated[
    str, typer.Option("--scheme", metavar="S", help="uniform, pot, apot, post-lut or post-split.")
]
WeightBitsOption = Annotated[
    int, typer.Option("--bits", parser=integer, metavar="B", help="Width of a weight.")
]
ActivationBitsOption = Annotated[
    int,
    typer.Option(
        "--activation-bits", parser=integer, metavar="A", help="Width of an activation, 2 to 8."
    ),
]
SignedActivationsOption = Annotated[
    bool,
    typer.Option("--signed-activations", metavar="", help="Two's complement activations."),
]
GridOption = Annotated[
    str, typer.Option("--grid", metavar="|".join(Encoding), help="Levels of pot and post.")
]
AccumulatorBitsOption = Annotated[
    int,
    typer.Option("--accumulator-bits", parser=integer, metavar="N", help="Widest accumulator."),
]
StyleOption = Annotated[
    str | None,
    typer.Option("--style", metavar="STYLE", help="How products are made; see docs/mac.md."),
]

# Quantizer, requantizer, pooling and adapter

ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model file; bundled is the packaged network.")
]
LayerOption = Annotated[
    str | None,
    typer.Option(
        "--layer", metavar="L", help="Layer of MODEL that the unit is for: widths follow from it."
    ),
]
CodeBitsOption = Annotated[
    int | None,
    typer.Option(
        "--activation-bits",
        parser=integer,
        metavar="A",
        help="Width of a code, 2 to 8; default: 4, or the layer's.",
    ),
]

FeatureBitsOption = Annotated[
    int | None,
    typer.Option(
        "--feature-bits",
        parser=integer,
        metavar="N",
        help="Width of a feature X, 4 to 24; default: 16, or the layer's.",
    ),
]
ArrangementOption = Annotated[
    str,
    typer.Option(
        "--arrangement",
        metavar="ladder|reciprocal",
        help="Thresholds made by addition, or a multiplication by the step's reciprocal.",
    ),
]
SignedCodesOption = Annotated[
    bool, typer.Option("--signed", metavar="", help="Two's complement codes.")
]
StepFractionBitsOption = Annotated[
    int | None,
    typer.Option(
        "--step-fraction-bits",
        parser=integer,
        metavar="T",
        help="Fraction bits of the step, 0 to 24; default: 8, or the layer's.",
    ),
]
ValueBitsOption = Annotated[
    int | None,
    typer.Option(
        "--value-bits",
        parser=integer,
        metavar="N",
        help="Width of a dot product, 2 to 40; default: 24 (verify: 20), or the layer's.",
    ),
]
MultiplierBitsOption = Annotated[
    int | None,
    typer.Option(
        "--multiplier-bits",
        parser=integer,
        metavar="N",
        help="Width of a multiplier, 2 to 32; default: 16, or the layer's.",
    ),
]
ShiftOption = Annotated[
    int | None,
    typer.Option(
        "--shift",
        parser=integer,
        metavar="N",
        help="Right shift, 0 to 62; default: 20 (pooling: 16), or the layer's.",
    ),
]
OutputBitsOption = Annotated[
    int | None,
    typer.Option(
        "--bits",
        parser=integer,
        metavar="N",
        help="Width of a feature, 4 to 24; default: 16, or the layer's.",
    ),
]
PairOption = Annotated[
    bool,
    typer.Option("--pair", metavar="", help="Take even and odd sums and join them first."),
]

# rtl

OutputOption = Annotated[
    Path, typer.Option("-o", "--output", metavar="DIR", help="Folder to write into.")
]
ClockOption = Annotated[
    float,
    typer.Option("--clock-mhz", metavar="MHZ", help="Clock of the constraints files."),
]

ForceOption = Annotated[
    bool,
    typer.Option("--force", metavar="", help="Replace another unit that DIR holds."),
]

# verify

MethodOption = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="exhaustive|cosim|network|formal|mutation",
        help="One rung of the ladder (docs/verification.md); default: all.",
    ),
]
CyclesOption = Annotated[
    int, typer.Option("--cycles", parser=integer, metavar="N", help="Operations of a cosim run.")
]
MutantsOption = Annotated[
    int, typer.Option("--mutants", parser=integer, metavar="N", help="Mutants of each design.")
]

# synth

TargetOption = Annotated[
    str,
    typer.Option("--target", metavar="T,T,...", help="Among ice40, ecp5, xilinx, gates."),
]
PnrOption = Annotated[
    bool,
    typer.Option("--pnr", metavar="", help="Place and route, too: ice40 and ecp5."),
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", parser=integer, metavar="N", help="Placements with --pnr.")
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", parser=integer, metavar="N", help="Units at a time; default: cores."),
]
