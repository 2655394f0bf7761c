"""Tiny networks with pixels and every intermediate integer, to check an executor of one's own with.

The files stand beside this module; `python -m asq_hw.conformance` says where and how to use them
(docs/conformance.md). `models` lists the examples; `files` writes what the oracle makes of them.
"""
