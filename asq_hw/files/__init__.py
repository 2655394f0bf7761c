"""Files: written whole or not at all, read within bounds, and never written onto what is read.

Pickles are walked through and never run.
"""
