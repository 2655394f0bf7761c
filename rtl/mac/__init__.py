"""Multiply-accumulate units: uniform, POT, APoT and the two products of POST."""
