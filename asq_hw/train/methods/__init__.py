"""Quantization methods: the declarations, and what makes the quantizers of each."""
