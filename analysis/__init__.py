"""Readers of the integer network: overhead, levels and figures."""
