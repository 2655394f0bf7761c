"""From an integer network to the program that the kernels run."""
