"""What circuits are made of: delays, rounding and limits, as functions that write into a module."""
