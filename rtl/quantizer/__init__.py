"""Circuits around the dot product: the adaptive step's quantizer and what feeds and follows it."""
