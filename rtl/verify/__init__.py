"""What shows that a circuit computes what its software model says: simulation, proof, mutation."""
