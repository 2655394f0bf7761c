"""Compiled kernels, by operation; a `_vector` module holds the vector form of its neighbor.

`convolve_vector` works with the tiles of `dot_tiles` and `depthwise_tiles` and the transforms of
`winograd`. `llvm` is what all vector forms are written with.
"""
