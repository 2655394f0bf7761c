"""How fast the simulator is, beside its peers: ``python -m benchmarks --help``."""
