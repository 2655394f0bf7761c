"""Quantizers that train: rounding with its gradients, steps, adapters, quantized layers."""
