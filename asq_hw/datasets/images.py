"""One image file: opened with distrust, and turned into 8 bits of red, green and blue.

Pillow reads some forty formats, one of them by starting another program. Here a file is read only
as what its ending says, and refused by its mode where its values have no known place in 0 to 255.
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np

from asq_hw.errors import InputError
from asq_hw.files.reading import read_bounded

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "MAX_PIXELS", "pillow", "read_image"]

# ImageNet's training part holds a PNG file that is called JPEG.
_FORMATS: Final = {
    ".jpeg": ("JPEG", "PNG"),
    ".jpg": ("JPEG", "PNG"),
    ".png": ("PNG",),
    ".bmp": ("BMP",),
    ".webp": ("WEBP",),
    ".ppm": ("PPM",),
    ".pgm": ("PPM",),
    ".tif": ("TIFF",),
    ".tiff": ("TIFF",),
}
ENDINGS: Final = tuple(_FORMATS)
"""How the names of image files end, in lower case."""

MAX_PIXELS: Final = 1 << 26
"""Most pixels of an image file: 8,192 x 8,192."""
_MOST_FILE_BYTES: Final = 1 << 28
_MOST_SCANNED_PIXELS: Final = 1 << 30
"""Most pixels times scans of a JPEG file, which may pass over its pixels as often as it likes."""
_START_OF_SCAN: Final = b"\xff\xda"
_SLOW_CODECS: Final = ("ppm", "ppm_plain", "bmp_rle")
"""What Pillow decodes value by value in Python: PPM but for one byte a channel, packed BMP."""
_MOST_SLOW_PIXELS: Final = 1 << 22

_EIGHT_BITS: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
_SIXTEEN_BITS: Final = ("I;16", "I;16L", "I;16B", "I;16N")
_FULL_16_BITS: Final = (1 << 16) - 1
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
"""Tags of TIFF."""


def read_image(path: Path) -> Image:
    """Read and decode one file.

    Channels of 16 bits are scaled to 8; transparency is dropped, as are all images of a file but
    the first.

    Raises
    ------
    InputError
        If the file is missing, damaged or no regular file, has another format than its name says,
        too many pixels, or a mode whose values have no known range.
    """
    library = pillow()
    content = read_bounded(path, "image", _MOST_FILE_BYTES)
    formats = _FORMATS[os.path.splitext(path.name)[1].lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in a file; too large is checked here
            with library.open(io.BytesIO(content), formats=formats) as stored:
                _check_size(stored, content)
                return _rgb(library, stored)
    except InputError as error:
        raise InputError(f"image {path} {error}") from None
    except library.UnidentifiedImageError:
        raise InputError(
            f"image {path} could not be read: it must be {' or '.join(formats)}"
        ) from None
    except Exception as error:
        # What Pillow raises on a damaged file depends on the format and on the damage.
        reason = str(error) or type(error).__name__
        raise InputError(f"image {path} could not be read: {reason}") from None


def _check_size(stored: Image, content: bytes) -> None:
    """Refuse, by its header, what would take much memory or time to decode."""
    width, height = stored.size
    pixels = width * height
    if pixels > MAX_PIXELS:
        raise InputError(f"must have at most {MAX_PIXELS} pixels, not {width} x {height}")
    tiles = getattr(stored, "tile", None) or ()
    if pixels > _MOST_SLOW_PIXELS and any(tile[0] in _SLOW_CODECS for tile in tiles):
        raise InputError(
            f"must have at most {_MOST_SLOW_PIXELS} pixels in this variant of "
            f"{stored.format}, not {width} x {height}"
        )
    scans = content.count(_START_OF_SCAN) if stored.format == "JPEG" else 0
    if pixels * scans > _MOST_SCANNED_PIXELS:
        raise InputError(f"must not have {scans} scans of {width} x {height} pixels")


def _rgb(library: ModuleType, stored: Image) -> Image:
    """Decode to 8 bits a channel; InputError names a mode that has no known range."""
    stored.load()
    if stored.mode in _EIGHT_BITS:
        image: Image = stored.convert("RGB")
        return image
    if not _holds_16_bits(stored):
        raise InputError(f"must have 8 or 16 bits in a channel, not {stored.format} {stored.mode}")
    values = np.asarray(stored).astype(np.uint32)
    narrowed = (values * 255 + _FULL_16_BITS // 2) // _FULL_16_BITS
    gray: Image = library.fromarray(narrowed.astype(np.uint8))
    return gray.convert("RGB")


def _holds_16_bits(stored: Image) -> bool:
    """Whether values reach from 0, black, to 65,535."""
    if stored.format in ("PNG", "PPM"):
        return stored.mode == "I" or stored.mode in _SIXTEEN_BITS
    tags = getattr(stored, "tag_v2", {})
    return (
        stored.mode in _SIXTEEN_BITS
        and tags.get(_BITS_PER_SAMPLE) == (16,)
        and tags.get(_PHOTOMETRIC) != _WHITE_IS_ZERO
    )


def pillow() -> ModuleType:
    """Pillow's module of images, or how to install it."""
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            "images in folders need Pillow: install it with pip install pillow"
        ) from None
    return Image
