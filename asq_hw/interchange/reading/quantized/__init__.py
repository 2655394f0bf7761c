"""A QONNX network, straight to an integer network."""
