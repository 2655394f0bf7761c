"""Kinds of hardware units: one file a kind, and their registry."""
