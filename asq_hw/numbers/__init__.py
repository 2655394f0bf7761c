"""Grids, fixed point and widths of an integer network (docs/arithmetic.md, 1, 3 and 8)."""
