"""From a design to a folder that stands alone: Verilog, test bench, vectors, constraints."""
