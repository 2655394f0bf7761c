"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn without a display

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
