"""Quantization methods: which there are, and those that are neither the paper's nor LSQ."""
