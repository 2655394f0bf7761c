"""Training with quantization in the loop; the only package that needs torch."""
