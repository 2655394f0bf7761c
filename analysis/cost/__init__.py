"""What the command line computes: what a network costs to store and to compute."""
