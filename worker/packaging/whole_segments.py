"""Encryption of whole segments with AES-128, for players that cannot decrypt samples (RFC 8216, 4.3.2.4)."""

import shutil
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from worker.packaging.segments import Segment

_BLOCK = 16
_CHUNK = 1 << 20


def encrypt(path: Path, init: int, segments: list[Segment], key: bytes) -> list[Segment]:
    """Encrypt the segments of a file in place, and return where they are then.

    The initialization section, of `init` bytes, stays as it is; the index behind it goes, since its sizes no longer
    hold. The initialization vector of a segment is its number, as players take it without an attribute IV.
    """
    target, encrypted = path.with_name(f"{path.name}.aes"), []
    with path.open("rb") as source, target.open("wb") as sink:
        sink.write(source.read(init))
        for number, segment in enumerate(segments):
            start, left = sink.tell(), segment.size
            cipher = Cipher(AES128(key), CBC(number.to_bytes(_BLOCK, "big"))).encryptor()
            padder = PKCS7(8 * _BLOCK).padder()
            source.seek(segment.offset)
            while left:
                chunk = source.read(min(left, _CHUNK))
                if not chunk:
                    raise ValueError("a segment is cut short")
                left -= len(chunk)
                sink.write(cipher.update(padder.update(chunk)))
            sink.write(cipher.update(padder.finalize()) + cipher.finalize())
            encrypted.append(segment._replace(offset=start, size=sink.tell() - start))
    shutil.move(target, path)
    return encrypted
