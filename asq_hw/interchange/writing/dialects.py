"""Every dialect that integer networks are written in."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from asq_hw.interchange.writing.dialect import Dialect
from asq_hw.interchange.writing.plain_dialect import PlainDialect
from asq_hw.interchange.writing.qonnx_dialect import QonnxDialect

__all__ = ["DIALECTS"]

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (PlainDialect(), QonnxDialect())}
)
"""By name."""
