"""Checkpoints and state dicts: written, and read without running anything in them."""
