"""A training run: the loop, its optimizer, and what it writes."""
