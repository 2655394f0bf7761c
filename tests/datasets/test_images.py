"""Image files of every depth: within 1 of their twin of 8 bits, or refused by their mode."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from asq_hw.datasets.images import read_image
from asq_hw.errors import InputError

RNG = np.random.default_rng(7)
GRAY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(path: Path, pixels: NDArray[np.uint8], color_type: int) -> None:
    """A PNG file of 16 bits a channel, by its specification; each byte v stands as v * 257."""
    height, width = pixels.shape[:2]
    wide = (pixels.astype(np.uint16) * 257).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def tiff(path: Path, samples: bytes, bits: int, *, photometric: int = 1, kind: int = 1) -> None:
    """A little-endian TIFF file of one strip, one channel of 9 x 13, by its specification."""
    tags = [
        (256, 13), (257, 9), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1),
        (278, 9), (279, len(samples)), (339, kind),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(samples))
    path.write_bytes(start + samples + struct.pack("<H", len(tags)) + entries + bytes(4))


def alpha(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    flat = pixels if pixels.ndim == 3 else pixels[..., None]
    return np.concatenate([flat, np.full((9, 13, 1), 128, dtype=np.uint8)], axis=2)


def gray_16(values: NDArray[np.uint8]) -> NDArray[np.uint16]:
    return values.astype(np.uint16) * 257


GRAYS: dict[str, Callable[[Path], object]] = {
    "gray.png": lambda path: png(path, GRAY, 0),
    "gray-alpha.png": lambda path: png(path, alpha(GRAY), 4),
    "pillow.png": lambda path: Image.fromarray(gray_16(GRAY)).save(path),
    "pillow.tif": lambda path: Image.fromarray(gray_16(GRAY)).save(path),
    "packed.tiff": lambda path: Image.fromarray(gray_16(GRAY)).save(path, compression="tiff_lzw"),
    "by-hand.tif": lambda path: tiff(path, gray_16(GRAY).astype("<u2").tobytes(), 16),
    "16.pgm": lambda path: path.write_bytes(
        b"P5 13 9 65535\n" + gray_16(GRAY).astype(">u2").tobytes()
    ),
    "10.pgm": lambda path: path.write_bytes(
        b"P5 13 9 1023\n" + (GRAY.astype(np.float64) * 1023 / 255).round().astype(">u2").tobytes()
    ),
    "text.pgm": lambda path: path.write_text(
        "P2 13 9 65535\n" + " ".join(str(value * 257) for value in GRAY.reshape(-1).tolist())
    ),
    "8.jpg": lambda path: Image.fromarray(GRAY).save(path, format="PNG"),  # as ImageNet has one
    "palette.png": lambda path: Image.fromarray(GRAY).convert("P").save(path),
    "palette-alpha.png": lambda path: Image.fromarray(GRAY).convert("P").save(
        path, transparency=bytes(range(256))
    ),
}  # fmt: skip

COLORS: dict[str, Callable[[Path], object]] = {
    "color.png": lambda path: png(path, COLOR, 2),
    "color-alpha.png": lambda path: png(path, alpha(COLOR), 6),
    "16.ppm": lambda path: path.write_bytes(
        b"P6 13 9 65535\n" + (COLOR.astype(np.uint16) * 257).astype(">u2").tobytes()
    ),
    "8.bmp": lambda path: Image.fromarray(COLOR).save(path),
    "8.tif": lambda path: Image.fromarray(COLOR).save(path),
    "lossless.webp": lambda path: Image.fromarray(COLOR).save(path, lossless=True),
    # Without black ink, CMYK is the negative of RGB.
    "cmyk.tif": lambda path: Image.frombytes(
        "CMYK", (13, 9), np.concatenate([255 - COLOR, np.zeros((9, 13, 1), np.uint8)], 2).tobytes()
    ).save(path),
}  # fmt: skip


def read(path: Path) -> NDArray[np.int64]:
    return np.asarray(read_image(path)).astype(np.int64)


@pytest.mark.parametrize("name", GRAYS)
def test_gray_is_within_1_of_its_twin(tmp_path: Path, name: str) -> None:
    GRAYS[name](tmp_path / name)
    assert np.abs(read(tmp_path / name) - GRAY[..., None]).max() <= 1


@pytest.mark.parametrize("name", COLORS)
def test_color_is_within_1_of_its_twin(tmp_path: Path, name: str) -> None:
    COLORS[name](tmp_path / name)
    assert np.abs(read(tmp_path / name) - COLOR).max() <= 1


def test_16_bits_are_rounded_to_the_nearest(tmp_path: Path) -> None:
    """65,535 / 255 is 257, so that 128 is the last that is nearer to 0."""
    Image.fromarray(np.array([[0, 128, 129, 257, 65_406, 65_407, 65_535]], np.uint16)).save(
        tmp_path / "x.png"
    )
    assert read(tmp_path / "x.png")[0, :, 0].tolist() == [0, 0, 1, 1, 254, 255, 255]


def test_one_bit_is_black_or_white(tmp_path: Path) -> None:
    Image.fromarray(GRAY > 127).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png")[..., 0], np.where(GRAY > 127, 255, 0))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "float.tif": (lambda path: Image.fromarray(GRAY.astype(np.float32)).save(path), "TIFF F"),
    "int32.tif": (lambda path: Image.fromarray(GRAY.astype(np.int32)).save(path), "TIFF I"),
    "lab.tif": (lambda path: Image.fromarray(COLOR, "LAB").save(path), "TIFF LAB"),
    "float.ppm": (
        lambda path: path.write_bytes(b"Pf 2 1 -1.0\n" + np.ones(2, "<f4").tobytes()),
        "PPM F",
    ),
    # 12 bits in a word of 16, and white for zero: read as 16 bits they would be dark, or negative.
    "12.tif": (lambda path: tiff(path, bytes(9 * 20), 12), "TIFF I;16"),
    "white.tif": (lambda path: tiff(path, bytes(9 * 26), 16, photometric=0), "TIFF I;16"),
    "signed.tif": (lambda path: tiff(path, bytes(9 * 26), 16, kind=2), "TIFF I"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_of_no_known_range_are_refused_by_their_mode(tmp_path: Path, name: str) -> None:
    write, mode = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=f"must have 8 or 16 bits in a channel, not {mode}$"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        ("x.jpg", b"GIF89a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x01D\0;"),
        ("x.tif", b"P5 1 1 255\n\0"),
        ("x.webp", b"%PDF-1.4\n"),
    ],
)
def test_content_must_be_what_the_ending_says(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"could not be read: it must be [A-Z]+"):
        read_image(tmp_path / name)


def test_no_other_program_is_started_for_postscript(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("a program is started"))
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("likewise"))
    (tmp_path / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n")
    with pytest.raises(InputError):
        read_image(tmp_path / "x.png")


def test_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "folder.png", "device.png"):
        with pytest.raises(InputError, match=f"{name} is not a regular file"):
            read_image(tmp_path / name)


def bomb(width: int, height: int) -> bytes:
    """The header of a PNG file of that size, and no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("size", [(8193, 8192), (100_000, 100_000), (2**31 - 1, 1)])
def test_what_would_fill_memory_is_refused_by_its_header(
    tmp_path: Path, size: tuple[int, int], recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "x.png").write_bytes(bomb(*size))
    with pytest.raises(InputError, match=r"must have at most 67108864 pixels|could not be read"):
        read_image(tmp_path / "x.png")
    assert not recwarn.list, "a warning would be printed"


def test_a_jpeg_of_many_scans_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (2048, 2048)).save(tmp_path / "x.jpg", progressive=True)
    content = (tmp_path / "x.jpg").read_bytes()
    start = content.rindex(b"\xff\xda")
    (tmp_path / "x.jpg").write_bytes(content[:start] + content[start:-2] * 500 + content[-2:])
    with pytest.raises(InputError, match=r"must not have \d+ scans of 2048 x 2048 pixels"):
        read_image(tmp_path / "x.jpg")


def test_what_is_decoded_slowly_is_refused_beyond_4_million_pixels(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 3000 3000 300\n")
    with pytest.raises(InputError, match="at most 4194304 pixels in this variant of PPM"):
        read_image(tmp_path / "x.pgm")


def test_an_image_of_more_pixels_than_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 8192 8193 255\n")
    with pytest.raises(InputError, match="at most 67108864 pixels, not 8192 x 8193"):
        read_image(tmp_path / "x.pgm")
