"""Model files taken apart and put together again by other means than the project's own."""

from __future__ import annotations

import json
from typing import Any


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join(header: dict[str, Any] | str, body: bytes) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "replace")
    return len(text).to_bytes(8, "little") + text + body
