"""Codec strings (RFC 6381) out of configuration boxes, and what begins a sample: IDR, key frame or neither."""

import struct
from collections.abc import Iterator

from tests.packages.boxes import Box, protection

HDR10_MESSAGES = {137: "mastering display", 144: "content light level"}
_AV1_METADATA = {1: "content light level", 2: "mastering display"}


def entry_kind(entry: Box) -> str:
    """The kind of a sample entry, the original one of an encrypted track."""
    protected = protection(entry)
    return protected.original if protected else entry.kind


def codec_string(entry: Box) -> str:
    """The codec of a sample entry as CODECS and `@codecs` write it, derived from its configuration box."""
    kind = entry_kind(entry)
    if kind in ("avc1", "avc3"):
        return f"{kind}.{_config(entry, 'avcC')[1:4].hex()}"
    if kind in ("hvc1", "hev1"):
        return _hevc(kind, _config(entry, "hvcC"))
    if kind == "av01":
        return _av1(_config(entry, "av1C"))
    if kind == "mp4a":
        return f"mp4a.{_aac(_config(entry, 'esds')[4:])}"
    return kind


def _config(entry: Box, kind: str) -> bytes:
    box = entry.first(kind)
    if box is None:
        raise ValueError(f"the sample entry has no {kind}")
    return box.payload


def _hevc(kind: str, config: bytes) -> str:
    """ISO/IEC 14496-15 annex E: profile, compatibility in reverse bit order, tier and level, constraints."""
    space, tier, profile = config[1] >> 6, config[1] >> 5 & 1, config[1] & 31
    compatible = int(f"{int.from_bytes(config[2:6]):032b}"[::-1], 2)
    constraints = config[6:12].rstrip(b"\0")
    parts = [f"{'ABC'[space - 1] if space else ''}{profile}", f"{compatible:X}", f"{'LH'[tier]}{config[12]}"]
    return ".".join([kind, *parts, *(f"{byte:X}" for byte in constraints)])


def _av1(config: bytes) -> str:
    """The four mandatory parts of the string in the AV1 binding, section 5."""
    profile, level, tier = config[1] >> 5, config[1] & 31, config[2] >> 7
    high, twelve = config[2] >> 6 & 1, config[2] >> 5 & 1
    depth = 12 if high and twelve else 10 if high else 8
    return f"av01.{profile}.{level:02d}{'MH'[tier]}.{depth:02d}"


def _aac(descriptors: bytes) -> str:
    """The object type of an esds, with the audio object type of its AudioSpecificConfig."""
    at, object_type = 0, 0
    while at < len(descriptors):
        tag, at = descriptors[at], at + 1
        size = 0
        while True:
            byte, at = descriptors[at], at + 1
            size = size << 7 | byte & 127
            if byte < 128:
                break
        if tag == 3:
            flags = descriptors[at + 2]
            at += 3 + 2 * (flags >> 7) + 2 * (flags >> 5 & 1)
        elif tag == 4:
            object_type, at = descriptors[at], at + 13
        elif tag == 5:
            audio = descriptors[at] >> 3
            if audio == 31:
                audio = 32 + ((descriptors[at] & 7) << 3 | descriptors[at + 1] >> 5)
            return f"{object_type:x}.{audio}"
        else:
            at += size
    return f"{object_type:x}"


def is_random_access(kind: str, sample: bytes, length_size: int) -> bool:
    """Whether a sample is an IDR picture (H.264, HEVC) or begins with a shown key frame (AV1)."""
    if kind == "av01":
        return _starts_with_key_frame(sample)
    units = list(nal_units(sample, length_size))
    if kind in ("avc1", "avc3"):
        slices = [unit[0] & 31 for unit in units if unit and 1 <= unit[0] & 31 <= 5]
        return bool(slices) and set(slices) == {5}
    slices = [unit[0] >> 1 & 63 for unit in units if unit and unit[0] >> 1 & 63 < 32]
    return bool(slices) and set(slices) <= {19, 20}


def nal_units(sample: bytes, length_size: int) -> Iterator[bytes]:
    """The NAL units of a sample, each behind its length."""
    at = 0
    while at + length_size <= len(sample):
        size = int.from_bytes(sample[at : at + length_size])
        yield sample[at + length_size : at + length_size + size]
        at += length_size + size


def nal_length_size(entry: Box) -> int:
    """Bytes of the length before each NAL unit."""
    if box := entry.first("avcC"):
        return (box.payload[4] & 3) + 1
    if box := entry.first("hvcC"):
        return (box.payload[21] & 3) + 1
    return 4


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The types and payloads of the OBUs of a sample."""
    at = 0
    while at < len(data):
        header, at = data[at], at + 1
        at += header >> 2 & 1
        size, shift = len(data) - at, 0
        if header & 2:
            size = 0
            while True:
                byte, at = data[at], at + 1
                size |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
        yield header >> 3 & 15, data[at : at + size]
        at += size


def _starts_with_key_frame(sample: bytes) -> bool:
    """Whether the first frame header of a temporal unit is that of a key frame which is shown."""
    for kind, payload in _obus(sample):
        if kind in (3, 6):
            return payload[0] >> 7 == 0 and payload[0] >> 5 & 3 == 0 and payload[0] >> 4 & 1 == 1
    return False


def hdr10_messages(kind: str, entry: Box, sample: bytes, length_size: int) -> tuple[set[str], set[str]]:
    """The HDR10 metadata of a track: what its sample entry holds, and what its first sample holds."""
    names = {"mdcv": "mastering display", "clli": "content light level"}
    in_entry = {name for box, name in names.items() if entry.first(box)}
    if kind == "av01":
        in_sample = {_AV1_METADATA[body[0]] for type_, body in _obus(sample) if type_ == 5 and body[0] in _AV1_METADATA}
        config = _config(entry, "av1C")[4:]
        in_entry |= {_AV1_METADATA[body[0]] for type_, body in _obus(config) if type_ == 5 and body[0] in _AV1_METADATA}
        return in_entry, in_sample
    if kind not in ("hvc1", "hev1"):
        return in_entry, set()
    in_entry |= {name for unit in _hvcc_units(_config(entry, "hvcC")) for name in _messages(unit)}
    return in_entry, {name for unit in nal_units(sample, length_size) for name in _messages(unit)}


def _hvcc_units(config: bytes) -> Iterator[bytes]:
    """The NAL units of the arrays of an hvcC."""
    at = 23
    for _ in range(config[22]):
        count, at = struct.unpack_from(">H", config, at + 1)[0], at + 3
        for _ in range(count):
            size, at = struct.unpack_from(">H", config, at)[0], at + 2
            yield config[at : at + size]
            at += size


def _messages(unit: bytes) -> Iterator[str]:
    """The names of the HDR10 messages in a prefix SEI unit."""
    if len(unit) < 4 or unit[0] >> 1 & 63 != 39:
        return
    at = 2
    while at + 2 < len(unit):
        kind, size = unit[at], unit[at + 1]
        if kind in HDR10_MESSAGES:
            yield HDR10_MESSAGES[kind]
        at += 2 + size
        if kind == 255 or size == 255:
            return


_PRIMARIES = {"bt709": 1, "bt470bg": 5, "smpte170m": 6, "bt2020": 9}
_TRANSFERS = {"bt709": 1, "smpte170m": 6, "bt2020-10": 14, "smpte2084": 16, "arib-std-b67": 18}
_MATRICES = {"bt709": 1, "bt470bg": 5, "smpte170m": 6, "bt2020nc": 9}


def colour_numbers(stream: dict[str, str]) -> tuple[int | None, int | None, int | None]:
    """Primaries, transfer and matrix (ISO/IEC 23091-2) of a stream as ffprobe names them; None where it does not."""
    return (
        _PRIMARIES.get(stream.get("color_primaries", "")),
        _TRANSFERS.get(stream.get("color_transfer", "")),
        _MATRICES.get(stream.get("color_space", "")),
    )


def elementary(entry: Box, sample: bytes) -> tuple[str, bytes]:
    """ffmpeg's name of the elementary format, and a stream of the sample entry's parameter sets with one sample."""
    kind = entry_kind(entry)
    if kind == "av01":
        return "obu", b"\x12\0" + _config(entry, "av1C")[4:] + sample
    if kind in ("avc1", "avc3"):
        sets = _avcc_units(_config(entry, "avcC"))
    elif kind in ("hvc1", "hev1"):
        sets = _hvcc_units(_config(entry, "hvcC"))
    else:
        return "", b""
    units = [*sets, *nal_units(sample, nal_length_size(entry))]
    return "h264" if kind.startswith("avc") else "hevc", b"".join(b"\0\0\0\1" + unit for unit in units)


def _avcc_units(config: bytes) -> Iterator[bytes]:
    """The sequence and picture parameter sets of an avcC."""
    at = 5
    for mask in (31, 255):
        count, at = config[at] & mask, at + 1
        for _ in range(count):
            size, at = struct.unpack_from(">H", config, at)[0], at + 2
            yield config[at : at + size]
            at += size
