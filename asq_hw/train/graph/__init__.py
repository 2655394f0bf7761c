"""A PyTorch network read as values: its data flow, and which layers are quantized how."""
