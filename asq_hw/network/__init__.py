"""An integer network: its layers, their graph and their bounds (arithmetic.md, 2 and 4-6)."""
