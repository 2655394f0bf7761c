"""Names that no two circuits share."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pytest

from asq_hw.activation import AdapterStage
from asq_hw.layers import Conv, Linear
from asq_hw.modelfile import load
from asq_hw.network import BUNDLED_MODEL
from rtl.digest import digest, unit_name
from rtl.identifiers import check_identifier
from rtl.mac.design import Mac
from rtl.mac.dot_product import DotProduct
from rtl.quantizer.adapter import Adapter
from rtl.quantizer.ladder import LadderQuantizer
from rtl.quantizer.pooling import PoolingAccumulator
from rtl.quantizer.requantizer import Requantizer
