"""Compiled kernels, by operation; a `_vector` module holds the vector form of its neighbor."""
