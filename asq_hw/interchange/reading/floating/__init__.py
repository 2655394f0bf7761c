"""A network in floating point, as a module of torch's that is quantized like anybody's own."""
