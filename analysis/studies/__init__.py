"""Circuits and arithmetic compared: what the documents on hardware cite."""
