"""Multiply-accumulate units: uniform, symmetric, POT, APoT and the two products of POST."""
