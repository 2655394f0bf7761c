"""What switches in a mapped netlist while it works."""
