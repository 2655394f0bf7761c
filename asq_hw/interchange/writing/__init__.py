"""From an integer network to a graph of ONNX's operators."""
