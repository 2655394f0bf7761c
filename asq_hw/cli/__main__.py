"""``python -m asq_hw.cli``."""

from __future__ import annotations

import sys

from asq_hw.cli import main

if __name__ == "__main__":
    sys.exit(main())
