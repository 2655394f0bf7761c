"""Post-training quantization beyond the choice of scales: what needs images, but no training."""
