"""One way to break each rule: an edit of a right package, or a package that is made wrong."""

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.packages import boxes, sample
from tests.packages.sample import ENCRYPTED, HDR, Sound, Spec

Change = Callable[[Path], object]
PLAIN = Spec()
HIGH, LOW = PLAIN.rungs


class Breakage(NamedTuple):
    """What breaks a rule: the package to make, a change of it, and the other rules that this must break too."""

    rule: str
    spec: Spec = PLAIN
    change: Change = lambda folder: None
    also: str = ""


def edit(file: str, old: str, new: str, count: int = 1) -> Change:
    """Replace a pattern in a text file; each of `count` must be there."""

    def change(folder: Path) -> None:
        text, done = re.subn(old, new, (folder / file).read_text(), count=count, flags=re.MULTILINE)
        assert done == (count or done) > 0, f"{old} is not in {file}"
        (folder / file).write_text(text)

    return change


def scale(file: str, name: str, factor: float) -> Change:
    """Multiply the first number behind a name."""

    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        written = re.search(rf"\b{name}=\"?(\d+)", text)
        assert written
        at = written.span(1)
        (folder / file).write_text(f"{text[: at[0]]}{int(int(written[1]) * factor)}{text[at[1] :]}")

    return change


def shorten(file: str) -> Change:
    """Take ten bytes off the last range of a playlist."""

    def change(folder: Path) -> None:
        lines = (folder / file).read_text().splitlines()
        number = max(at for at, line in enumerate(lines) if line.startswith("#EXT-X-BYTERANGE:"))
        size, _, offset = lines[number].partition(":")[2].partition("@")
        lines[number] = f"#EXT-X-BYTERANGE:{int(size) - 10}@{offset}"
        (folder / file).write_text("\n".join(lines) + "\n")

    return change


def every(*changes: Change) -> Change:
    """Make several changes."""
    return lambda folder: [change(folder) for change in changes]


def bytes_at(file: str, place: Callable[[list[boxes.Box]], int], new: bytes) -> Change:
    """Overwrite the bytes at a place that is found in the boxes of a file."""

    def change(folder: Path) -> None:
        data = bytearray((folder / file).read_bytes())
        at = place(boxes.walk(bytes(data)))
        assert data[at : at + len(new)] != new
        data[at : at + len(new)] = new
        (folder / file).write_bytes(bytes(data))

    return change


def inside(*path: str, number: int = 0) -> Callable[[list[boxes.Box]], boxes.Box]:
    """The nth box at a path."""

    def find(found: list[boxes.Box]) -> boxes.Box:
        tops = [box for box in found if box.kind == path[0]]
        return [box for top in tops for box in top.every(*path[1:])][number]

    return find


def payload(offset: int, *path: str, number: int = 0) -> Callable[[list[boxes.Box]], int]:
    """A place in the payload of the nth box at a path."""
    return lambda found: inside(*path, number=number)(found).body + offset


def kind_of(*path: str, number: int = 0) -> Callable[[list[boxes.Box]], int]:
    """The place of the kind of the nth box at a path."""
    return lambda found: inside(*path, number=number)(found).start + 4


def rewritten(spec: Spec, *changes: Change) -> Change:
    """Change tracks, and write playlists and manifest again that say what the tracks now hold."""
    return every(*changes, lambda folder: sample.write(folder, spec))


def rungs(**changes: object) -> Spec:
    """The plain package with both rungs changed."""
    return replace(PLAIN, rungs=(replace(HIGH, **changes), replace(LOW, **changes)))  # type: ignore[arg-type]


def low(**changes: object) -> Spec:
    """The plain package with the lower rung changed."""
    return replace(PLAIN, rungs=(HIGH, replace(LOW, **changes)))  # type: ignore[arg-type]


def hdr(**changes: object) -> Spec:
    """The HDR package with its HDR rung changed."""
    return replace(HDR, rungs=(replace(HDR.rungs[0], **changes), HDR.rungs[1]))  # type: ignore[arg-type]


def unmarked(folder: Path) -> None:
    """Mark the IDR of the second fragment of the higher rung as no sync sample."""
    file = folder / "v" / "high.mp4"
    data = bytearray(file.read_bytes())
    traf = inside("moof", "traf", number=1)(boxes.walk(bytes(data)))
    run, header = traf.first("trun"), traf.first("tfhd")
    assert run
    assert header
    at = run.body + 8 + 4 * (run.flags & 1)
    if not run.flags & 4:
        at += 4 * sum(bool(run.flags & bit) for bit in (0x100, 0x200))
        assert run.flags & 0x400, "flags are neither those of the first sample nor of each"
    struct.pack_into(">I", data, at, 0x01010000)
    file.write_bytes(bytes(data))


_STSD = ("moov", "trak", "mdia", "minf", "stbl", "stsd")
MASTER, MPD = "master.m3u8", "manifest.mpd"


def _audio_config(sought: bytes) -> Callable[[list[boxes.Box]], int]:
    """The place of bytes in an esds."""

    def place(found: list[boxes.Box]) -> int:
        box = inside(*_STSD, "mp4a", "esds")(found)
        return box.body + box.payload.index(sought)

    return place


def _mastering(found: list[boxes.Box]) -> int:
    """The place of the kind of the SEI message of the mastering display in an hvcC."""
    box = inside(*_STSD, "hvc1", "hvcC")(found)
    return box.body + box.payload.index(b"\x89\x18")


def _level(name: str, value: int) -> Change:
    """Set the level in the avcC of a rung."""
    return bytes_at(f"v/{name}.mp4", payload(3, *_STSD, "avc1", "avcC"), bytes([value]))


def _line(pattern: str) -> str:
    """A pattern for a whole line."""
    return rf"^{pattern}.*\n"


MEDIA = ("high", "low", "audio-en", "audio-fr")


def _all_media(old: str, new: str) -> Change:
    """Edit each playlist of video and audio."""
    return every(*(edit(f"v/{name}.m3u8", old, new) for name in MEDIA))


HLS = [
    Breakage("files-exist", change=lambda folder: (folder / "v" / "tiles-2.jpg").unlink(), also="mpd-files"),
    Breakage("hls-syntax", change=edit("v/high.m3u8", "^#EXT-X-ENDLIST", "#EXT-X-NONSENSE:1\n#EXT-X-ENDLIST")),
    Breakage("hls-version", change=edit("v/high.m3u8", "VERSION:6", "VERSION:5")),
    Breakage("target-covers", change=edit("v/text-en.m3u8", "TARGETDURATION:8", "TARGETDURATION:7")),
    Breakage("playlist-ends", change=edit("v/text-en.m3u8", _line("#EXT-X-ENDLIST"), "")),
    Breakage("map-is-init", change=scale("v/high-i.m3u8", "BYTERANGE", 0.99)),
    Breakage("ranges-tile", change=shorten("v/audio-fr.m3u8"), also="ranges-are-index"),
    Breakage("ranges-are-index", replace(PLAIN, divided=True), also="segments-6-s"),
    Breakage("extinf-is-samples", change=edit("v/audio-en.m3u8", r"EXTINF:[\d.]+", "EXTINF:6.025")),
    Breakage("index-is-samples", change=bytes_at("v/audio-en.mp4", payload(12, "sidx"), struct.pack(">I", 480))),
    Breakage("groups-exist", change=edit(MASTER, 'SUBTITLES="text"', 'SUBTITLES="texts"', 2)),
    Breakage("names-unique", change=edit(MASTER, r"English \(forced\)", "English")),
    Breakage("one-default", change=edit(MASTER, 'LANGUAGE="fr",DEFAULT=NO', 'LANGUAGE="fr",DEFAULT=YES')),
    Breakage("default-is-autoselect", change=edit(MASTER, "DEFAULT=YES,AUTOSELECT=YES", "DEFAULT=YES,AUTOSELECT=NO")),
    Breakage("autoselect-distinct", change=edit(MASTER, 'LANGUAGE="fr"', 'LANGUAGE="en"')),
    Breakage("forced-is-subtitles", change=edit(MASTER, 'LANGUAGE="fr",', 'LANGUAGE="fr",FORCED=NO,')),
    Breakage(
        "groups-alike",
        change=every(
            edit(MASTER, r'^(#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=")stereo(".*LANGUAGE="en".*\n)', r"\1stereo\2\1more\2"),
            edit(MASTER, r'(RESOLUTION=160x90.*AUDIO=")stereo', r"\1more"),
        ),
    ),
    Breakage("channels", change=edit(MASTER, 'CHANNELS="2"', 'CHANNELS="6"')),
    Breakage("no-captions-agree", change=edit(MASTER, "CLOSED-CAPTIONS=NONE,", "")),
]
"""Rules of `hls`."""

MEDIA_ITSELF = [
    Breakage("boxes-tile", change=bytes_at("v/audio-fr.mp4", kind_of("ftyp"), b"styp")),
    Breakage(
        "decode-times-continue",
        change=bytes_at(
            "v/audio-fr.mp4", lambda found: inside("moof", "traf", "tfdt", number=1)(found).end - 1, b"\x07"
        ),
    ),
    Breakage(
        "starts-at-zero",
        change=every(
            *(
                bytes_at(f"v/{name}.mp4", payload(12, "moov", "trak", "edts", "elst"), struct.pack(">I", 512))
                for name in ("high", "low")
            )
        ),
        also="index-is-samples segments-aligned",
    ),
    Breakage(
        "one-edit",
        change=bytes_at("v/audio-fr.mp4", payload(12, "moov", "trak", "edts", "elst"), struct.pack(">i", -1)),
        also="index-is-samples extinf-is-samples segments-aligned mpd-duration",
    ),
    Breakage(
        "segments-start-with-idr",
        low(params="scenecut=0:open-gop=1", more=(*LOW.more, "-bf", "2", "-b_strategy", "0")),
        also="gops-closed idr-aligned idr-every-2-s fragments-are-gops",
    ),
    Breakage("idr-every-2-s", rungs(gop=75), also="iframes-dense"),
    Breakage(
        "gops-closed",
        hdr(params=f"scenecut=0:open-gop=1:log-level=error:{sample.HDR10}"),
        also="segments-start-with-idr idr-every-2-s idr-aligned fragments-are-gops",
    ),
    Breakage("idr-marked-sync", change=unmarked),
    Breakage("idr-aligned", low(gop=50)),
    Breakage("segments-aligned", low(gop=40), also="idr-aligned mpd-aligned"),
    Breakage(
        "fragments-are-gops",
        replace(PLAIN, packager=("--fragment_duration", "3")),
        also="iframes-complete iframes-times iframes-dense",
    ),
    Breakage(
        "rate-constant",
        low(filters=f"{sample.BT709},select=not(eq(n\\,30))", more=(*LOW.more, "-fps_mode", "passthrough")),
        also="rates-divide natural-rate idr-aligned segments-aligned mpd-aligned",
    ),
    Breakage("rates-divide", low(rate="24", gop=24)),
    Breakage(
        "tracks-equally-long",
        replace(PLAIN, sounds=(Sound("audio-en", "en"), Sound("audio-fr", "fr", cut=0.5))),
        also="same-duration",
    ),
    Breakage("colour-box-is-bitstream", change=bytes_at("v/high.mp4", payload(4, *_STSD, "avc1", "colr"), b"\0\x09")),
    Breakage("square-pixels", low(size="160x120")),
    Breakage("index-tiles", change=bytes_at("v/high.mp4", payload(32, "sidx"), b"\0")),
]
"""Rules of `cmaf`."""

VIDEO = [
    Breakage(
        "video-codec",
        change=bytes_at("v/low.mp4", kind_of(*_STSD, "avc1"), b"xvc1"),
        also="codecs-are-bitstreams fragments-are-gops gops-closed idr-aligned idr-every-2-s iframes-complete "
        "iframes-ranges level mpd-codecs mpd-one-kind segments-start-with-idr",
    ),
    Breakage(
        "parameter-sets-in-entry",
        change=rewritten(
            PLAIN, *(bytes_at(f"v/{name}.mp4", kind_of(*_STSD, "avc1"), b"avc3") for name in ("high", "low"))
        ),
    ),
    Breakage("level", change=rewritten(PLAIN, _level("high", 61))),
    Breakage("h264-high", rungs(more=("-pix_fmt", "yuv420p", "-profile:v", "main"))),
    Breakage("some-compatible", change=rewritten(PLAIN, _level("high", 42), _level("low", 42))),
    Breakage("natural-rate", rungs(rate="20", gop=20)),
    Breakage("rate-at-most-60", rungs(rate="100", gop=100), also="natural-rate"),
    Breakage(
        "progressive",
        replace(
            PLAIN,
            rungs=(
                replace(HIGH, params="scenecut=0:open-gop=0:tff=1", more=(*HIGH.more, "-flags", "+ildct+ilme")),
                LOW,
            ),
        ),
    ),
    Breakage(
        "one-colour-space", low(filters="setparams=color_primaries=smpte170m:color_trc=smpte170m:colorspace=smpte170m")
    ),
    Breakage("hdr-is-10-bit", hdr(more=("-pix_fmt", "yuv420p"))),
    Breakage("hdr10-metadata", hdr(params="scenecut=0:open-gop=0:log-level=error"), also="hdr10-in-entry"),
    Breakage(
        "hdr10-in-entry",
        hdr(params=HDR.rungs[0].params.replace("repeat-headers=0", "repeat-headers=1")),
        bytes_at("v/hdr.mp4", _mastering, b"\x05"),
    ),
    Breakage(
        "sdr-beside-hdr",
        replace(HDR, rungs=(HDR.rungs[0], replace(HDR.rungs[0], name="hdr2", size="160x90", kbit=150))),
        also="iframes-present",
    ),
    Breakage("hdr-at-30", hdr(rate="50", gop=50)),
    Breakage("same-shape", low(size="160x120", filters=f"{sample.BT709},setsar=1")),
    Breakage(
        "uhd-at-15-mbit",
        change=edit(MASTER, r"BANDWIDTH=\d+(.*)RESOLUTION=320x180", r"BANDWIDTH=16000000\1RESOLUTION=3840x2160"),
        also="resolution-is-size bandwidth-measured",
    ),
    Breakage("default-at-2000-kbit", replace(PLAIN, rungs=(LOW, HIGH))),
    Breakage("two-at-the-top", replace(PLAIN, rungs=(replace(HIGH, size="1280x720"), LOW))),
]
"""Rules of `apple_video`."""

LISTS = [
    Breakage("target-6-s", change=_all_media("TARGETDURATION:6", "TARGETDURATION:7")),
    Breakage("segments-6-s", replace(PLAIN, packager=("--segment_duration", "4"))),
    Breakage(
        "segments-within-target",
        change=_all_media("TARGETDURATION:6", "TARGETDURATION:5"),
        also="target-covers target-6-s",
    ),
    Breakage(
        "extinf-sum",
        change=edit("v/high.m3u8", r"EXTINF:6\.000", "EXTINF:6.045"),
        also="extinf-is-samples same-duration",
    ),
    Breakage("same-target", change=edit("v/audio-fr.m3u8", "TARGETDURATION:6", "TARGETDURATION:7"), also="target-6-s"),
    Breakage(
        "same-duration",
        change=edit("v/audio-fr.m3u8", r"#EXTINF.*\n.*\n.*\n(?=#EXT-X-ENDLIST)", ""),
        also="ranges-tile ranges-are-index segments-aligned",
    ),
    Breakage("type-vod", change=edit("v/text-en.m3u8", _line("#EXT-X-PLAYLIST-TYPE"), "")),
    Breakage("language-everywhere", change=edit(MASTER, 'LANGUAGE="fr",', "")),
    Breakage(
        "map-present", change=edit("v/audio-fr.m3u8", _line("#EXT-X-MAP"), ""), also="each-track-shown mpd-is-hls"
    ),
    Breakage("independent-segments", change=edit(MASTER, _line("#EXT-X-INDEPENDENT"), "")),
    Breakage("several-variants", replace(PLAIN, rungs=(replace(HIGH, size="768x432"),))),
    Breakage("codecs-present", change=edit(MASTER, r'(#EXT-X-I-FRAME.*)CODECS="[^"]*",', r"\1")),
    Breakage("resolution-present", change=edit(MASTER, r"(#EXT-X-I-FRAME.*)RESOLUTION=\w+,", r"\1")),
    Breakage("average-present", change=edit(MASTER, r"(#EXT-X-STREAM.*)AVERAGE-BANDWIDTH=\w+,", r"\1")),
    Breakage("frame-rate-present", change=edit(MASTER, r"FRAME-RATE=[\d.]+,", "")),
    Breakage("codecs-are-bitstreams", change=edit(MASTER, 'CODECS="avc1.64....,mp4a', 'CODECS="avc1.640028,mp4a')),
    Breakage("resolution-is-size", change=edit(MASTER, "RESOLUTION=320x180", "RESOLUTION=322x180")),
    Breakage("frame-rate-is-rate", change=edit(MASTER, "FRAME-RATE=25.000", "FRAME-RATE=24.990")),
    Breakage("video-range", change=edit(MASTER, "VIDEO-RANGE=SDR", "VIDEO-RANGE=PQ")),
    Breakage("bandwidth-measured", change=scale(MASTER, "BANDWIDTH", 1.02)),
    Breakage("average-measured", change=scale(MASTER, "AVERAGE-BANDWIDTH", 0.98)),
    Breakage(
        "peak-at-most-double",
        replace(
            low(
                filters=f"{sample.BT709},noise=alls=80:allf=t:enable='lt(t,6)',drawbox=t=fill:enable='gte(t,6)'",
                kbit=600,
                more=(*LOW.more, "-qmax", "40"),
            ),
            seconds=26,
            has_text=False,
        ),
    ),
    Breakage(
        "video-apart",
        change=edit(MASTER, ',AUDIO="stereo"', "", 2),
        also="groups-exist codecs-are-bitstreams bandwidth-measured average-measured",
    ),
    Breakage("each-track-shown", change=edit(MASTER, "v/audio-fr.m3u8", "v/text-en.m3u8"), also="mpd-is-hls"),
]
"""Rules of `apple_lists`."""

REST = [
    Breakage(
        "stereo-aac", replace(PLAIN, sounds=(Sound("audio-en", "en", channels=6), Sound("audio-fr", "fr", channels=6)))
    ),
    Breakage("audio-codec", change=rewritten(PLAIN, bytes_at("v/audio-fr.mp4", _audio_config(b"\x40\x15"), b"\x6b"))),
    Breakage("stereo-rate", replace(PLAIN, sounds=(Sound("audio-en", "en", kbit=256), Sound("audio-fr", "fr")))),
    Breakage("loudness-box", replace(PLAIN, loud=False)),
    Breakage("sdh-marked", change=edit(MASTER, ",public.accessibility.describes-music-and-sound", "")),
    Breakage("sdh-autoselect", change=edit(MASTER, r'AUTOSELECT=YES(?=,NAME="English \(SDH)', "AUTOSELECT=NO")),
    Breakage("forced-autoselect", change=edit(MASTER, r'AUTOSELECT=YES(?=,NAME="English \(forced)', "AUTOSELECT=NO")),
    Breakage("subtitles-cover", change=edit("v/text-en.m3u8", "EXTINF:8.000", "EXTINF:7.000")),
    Breakage("webvtt-valid", change=edit("v/text-en.vtt", "00:00:01.000 -->", "00:00:01,000 -->")),
    Breakage("timestamp-map", change=edit("v/text-en.vtt", _line("X-TIMESTAMP-MAP"), "")),
    Breakage("iframes-present", change=edit(MASTER, _line("#EXT-X-I-FRAME-STREAM-INF"), "", 2), also="iframes-several"),
    Breakage("iframes-several", change=edit(MASTER, _line("#EXT-X-I-FRAME-STREAM-INF"), "")),
    Breakage("iframes-dense", rungs(gop=50)),
    Breakage("iframes-codec", HDR, edit(MASTER, _line("#EXT-X-I-FRAME-STREAM-INF.*hvc1"), ""), also="iframes-several"),
    Breakage(
        "iframes-tag",
        change=edit("v/text-en.m3u8", "^#EXT-X-PLAYLIST-TYPE", "#EXT-X-I-FRAMES-ONLY\n#EXT-X-PLAYLIST-TYPE"),
    ),
    Breakage("iframes-ranges", change=shorten("v/high-i.m3u8")),
    Breakage("iframes-complete", change=edit("v/high-i.m3u8", r"#EXTINF.*\n.*\n.*\n(?=#EXT-X-ENDLIST)", "")),
    Breakage("iframes-times", change=edit("v/high-i.m3u8", r"EXTINF:1\.000", "EXTINF:1.010")),
]
"""Rules of `apple_rest`."""

DASH = [
    Breakage("mpd-profile", change=edit(MPD, "isoff-on-demand:2011", "isoff-live:2011")),
    Breakage("mpd-files", change=edit(MPD, "v/text-en.vtt", "v/none.vtt")),
    Breakage("mpd-duration", change=edit(MPD, r"PT8\.\d+S", "PT7.990S")),
    Breakage("mpd-index-range", change=edit(MPD, r'indexRange="\d+', 'indexRange="700')),
    Breakage("mpd-init-range", change=edit(MPD, 'Initialization range="0-', 'Initialization range="1-')),
    Breakage("mpd-bandwidth", change=scale(MPD, "bandwidth", 0.5)),
    Breakage("mpd-bandwidth-near", change=scale(MPD, "bandwidth", 1.5)),
    Breakage("mpd-codecs", change=edit(MPD, 'codecs="avc1.64', 'codecs="avc1.42')),
    Breakage("mpd-size", change=edit(MPD, 'width="320"', 'width="322"')),
    Breakage("mpd-frame-rate", change=edit(MPD, 'frameRate="25"', 'frameRate="24"')),
    Breakage("mpd-audio", change=edit(MPD, 'audioSamplingRate="48000"', 'audioSamplingRate="44100"')),
    Breakage("mpd-subsegments", change=edit(MPD, ' subsegmentStartsWithSAP="1"', "")),
    Breakage(
        "mpd-aligned",
        change=bytes_at("v/low.mp4", payload(28, "sidx"), struct.pack(">I", 80000)),
        also="index-is-samples",
    ),
    Breakage(
        "mpd-one-kind",
        change=edit(MPD, r'</AdaptationSet>\n<AdaptationSet contentType="audio" lang="en"[^>]*>', ""),
        also="mpd-aligned",
    ),
    Breakage("mpd-language", change=edit(MPD, ' lang="fr"', "")),
    Breakage("mpd-roles", change=edit(MPD, 'value="main"', 'value="alternate"')),
    Breakage("mpd-ids", change=edit(MPD, 'id="low"', 'id="high"')),
    Breakage("mpd-is-hls", change=edit(MPD, r'<AdaptationSet contentType="audio" lang="fr".*</AdaptationSet>\n', "")),
    Breakage("mpd-transfer", HDR, edit(MPD, r'<SupplementalProperty schemeIdUri="urn:mpeg:mpegB[^>]*>', "")),
    Breakage("mpd-protection", ENCRYPTED, edit(MPD, 'value="cbcs"', 'value="cenc"')),
    Breakage("image-playlists", change=edit("v/tiles.m3u8", "LAYOUT=2x2", "LAYOUT=3x2")),
    Breakage("mpd-thumbnails", change=edit(MPD, 'value="2x2"', 'value="3x2"')),
]
"""Rules of `dash` and `images`."""

PROTECTION = [
    Breakage("key-method", ENCRYPTED, edit("v/high.m3u8", "METHOD=SAMPLE-AES", "METHOD=SAMPLE-AES-CTR")),
    Breakage("key-everywhere", ENCRYPTED, edit("v/high-i.m3u8", _line("#EXT-X-KEY"), "")),
    Breakage(
        "fairplay-method",
        ENCRYPTED,
        edit("v/high.m3u8", 'KEYFORMAT="identity"', 'KEYFORMAT="com.apple.streamingkeydelivery"'),
    ),
    Breakage("pattern-1-9", replace(ENCRYPTED, pattern="5:5"), also="decrypts"),
    Breakage(
        "protection-boxes",
        ENCRYPTED,
        every(*(bytes_at("v/high.mp4", kind_of("moof", "traf", kind), b"free") for kind in ("senc", "saiz"))),
        also="decrypts",
    ),
    Breakage(
        "one-key-id",
        ENCRYPTED,
        bytes_at("v/audio-en.mp4", payload(8, *_STSD, "enca", "sinf", "schi", "tenc"), b"\xff"),
        also="mpd-protection",
    ),
    Breakage(
        "no-key-in-clear", ENCRYPTED, edit("v/high.m3u8", "^#EXT-X-ENDLIST", f"# {sample.KEY.hex()}\n#EXT-X-ENDLIST")
    ),
    Breakage("decrypts", ENCRYPTED, bytes_at("v/high.mp4", payload(1500, "mdat"), bytes(64))),
]
"""Rules of `protection`."""

DELIVERY = [
    Breakage("content-types", change=edit("headers.json", "application/vnd.apple.mpegurl", "text/plain")),
    Breakage("no-redirects", change=edit("headers.json", r"/master\.m3u8\"", '/other.m3u8"')),
    Breakage("cross-origin", change=edit("headers.json", '"access-control-allow-origin": "[*]"', '"vary": "origin"')),
]
"""Rules of `delivery`, on a package that was fetched."""

BREAKAGES = [*HLS, *MEDIA_ITSELF, *VIDEO, *LISTS, *REST, *DASH, *PROTECTION]
