"""A tiny video, generated: one second of uncompressed pictures in AVI, which every worker can read. Pure."""

import struct

WIDTH, HEIGHT, RATE, FRAMES = 160, 120, 10, 10
_LUMA = WIDTH * HEIGHT
_FRAME_BYTES = _LUMA * 3 // 2
_KEY_FRAME = 0x10
_HAS_INDEX = 0x10


def avi(seed: int = 0) -> bytes:
    """An AVI of moving stripes; another seed from 0 to 255 gives other pictures, so that no output is reused."""
    frames = [_frame(number, seed) for number in range(FRAMES)]
    chunks = b"".join(_chunk(b"00dc", frame) for frame in frames)
    index = b"".join(
        b"00dc" + struct.pack("<III", _KEY_FRAME, 4 + number * (8 + _FRAME_BYTES), _FRAME_BYTES)
        for number in range(FRAMES)
    )
    body = _list(b"hdrl", _chunk(b"avih", _main_header()) + _list(b"strl", _stream())) + _list(b"movi", chunks)
    return _chunk(b"RIFF", b"AVI " + body + _chunk(b"idx1", index))


def _frame(number: int, seed: int) -> bytes:
    """One picture, I420: a ramp that moves, on a colour of the seed."""
    row = bytes((16 + (column * 3 + number * 8 + seed) % 220) for column in range(WIDTH))
    return row * HEIGHT + bytes([64 + seed % 128]) * (_LUMA // 4) + bytes([128 + number]) * (_LUMA // 4)


def _main_header() -> bytes:
    micros, rate = 1_000_000 // RATE, _FRAME_BYTES * RATE
    return struct.pack("<14I", micros, rate, 0, _HAS_INDEX, FRAMES, 0, 1, _FRAME_BYTES, WIDTH, HEIGHT, 0, 0, 0, 0)


def _stream() -> bytes:
    header = b"vidsI420" + struct.pack(
        "<IHHIIIIIIII4H", 0, 0, 0, 0, 1, RATE, 0, FRAMES, _FRAME_BYTES, 0xFFFFFFFF, 0, 0, 0, WIDTH, HEIGHT
    )
    picture = struct.pack("<IiiHH4sIiiII", 40, WIDTH, HEIGHT, 1, 12, b"I420", _FRAME_BYTES, 0, 0, 0, 0)
    return _chunk(b"strh", header) + _chunk(b"strf", picture)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _list(name: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", name + content)
