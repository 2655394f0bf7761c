"""The error that bad input raises, everywhere."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used: one line naming the thing, its value and the rule.

    The command line prints the message as it is and exits with status 2, so a message is a
    single sentence for the person who typed the input.
    """
