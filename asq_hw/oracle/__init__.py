"""docs/arithmetic.md in plain Python integers: slow, obvious, the judge of other executors.

Its arithmetic is its own, written from that page: the grids' codes, the square root of two, every
rounding, size and threshold. From the rest of the package it takes the network, as data, and the
check that the network may be run at all. Arrays only carry integers in and out; every sum, product
and shift is done on unbounded Python integers, so no width is assumed.
"""

from asq_hw.oracle.execution import OracleTrace, predict, run, trace

__all__ = ["OracleTrace", "predict", "run", "trace"]
