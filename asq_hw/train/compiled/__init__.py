"""Loops that Numba compiles, for quantizers that train on a CPU."""
