"""From a trained network to the integer network, and whether the two compute the same."""
