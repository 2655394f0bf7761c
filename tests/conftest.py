"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn without a display
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers share the cores already

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
