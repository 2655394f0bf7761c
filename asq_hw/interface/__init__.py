"""What ``import asq_hw`` gives out: a network of anyone's, from PyTorch to integers."""
