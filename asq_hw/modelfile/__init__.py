"""The model file: an integer network on disk (docs/arithmetic.md, section 7)."""

from asq_hw.modelfile.file import ModelFileError, load, save

__all__ = ["ModelFileError", "load", "save"]
