"""One package, from the tracks in the job's folder to its files there."""

import struct
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from elasticrecode.jobs.events import Notice
from worker.errors import PermanentError
from worker.host_faults import host_error
from worker.packaging import dash, hls, multivariant
from worker.packaging.boxes import TrackFile, read_track
from worker.packaging.channel import least_rate
from worker.packaging.loudness_box import write_loudness
from worker.packaging.packager import PREFIX, Facts, package_file, run_packager
from worker.packaging.rendition import Rendition
from worker.packaging.rules import check_tracks
from worker.packaging.segments import Segment, key_frames, peak, segments, target
from worker.packaging.texts import timed
from worker.packaging.tracks import Encrypted, Format, Packaged, Thumbnails, Track
from worker.packaging.whole_segments import encrypt
from worker.sandbox.runner import Runner
from worker.settings import Settings

MASTER, MANIFEST = "master.m3u8", "manifest.mpd"
_NO_FRAMES = Notice(
    "key-frames-omitted",
    "The package has no playlists of key frames: with aes-128, players cannot decrypt a part of a segment.",
)


def pack(
    tracks: Sequence[Track],
    *,
    formats: Collection[Format],
    segment: Fraction,
    gop: Fraction,
    encryption: Encrypted | None,
    thumbnails: Thumbnails | None,
    version: str,
    folder: Path,
    settings: Settings,
    runner: Runner,
) -> Packaged:
    """Package tracks, whose files lie in the job's folder, into files there.

    `segment` is in seconds, a multiple of `gop`, the seconds between key frames. `version` is the folder, below the
    package's own, of all but the entry files. The tracks' files stay as they are. Raises ValueError for tracks without
    a video, names that collide, or AES-128 for DASH; PermanentError `packaging-failed`; else as `Runner.run`.
    """
    whole = encryption is not None and encryption.scheme == "aes-128"
    chosen = [track.checked() for track in tracks if not (whole and track.kind == "trick")]
    _check(chosen, formats, encryption)
    try:
        facts = run_packager(
            *(settings.packager, chosen),
            segment=segment,
            gop=gop,
            encryption=encryption,
            version=version,
            folder=folder,
            runner=runner,
        )
        levels = {
            track.name: write_loudness(package_file(folder, track), track.file, settings.ffmpeg, runner)
            for track in chosen
            if track.kind == "audio"
        }
        read = {track.name: read_track(package_file(folder, track)) for track in chosen if track.name in facts}
        findings = check_tracks(chosen, read)
        renditions = _renditions(chosen, facts, read, encryption, folder)
        packaged = _finish(renditions, formats, encryption, thumbnails, version, folder)
        return packaged._replace(rules=findings, loudness={name: level for name, level in levels.items() if level})
    except (struct.error, KeyError, ValueError) as error:
        message = f"A packaged track is not as it must be: {type(error).__name__}: {error}."
        raise PermanentError("packaging-failed", message) from error
    except OSError as error:
        raise host_error(error) or error from error


def _check(tracks: Sequence[Track], formats: Collection[Format], encryption: Encrypted | None) -> None:
    if len({track.name.lower() for track in tracks}) < len(tracks):
        raise ValueError("two tracks have one name")
    if not any(track.kind == "video" for track in tracks):
        raise ValueError("a package needs a video")
    if encryption and encryption.scheme == "aes-128" and "dash" in formats:
        raise ValueError("AES-128 is for HLS alone")


def _renditions(
    tracks: Sequence[Track],
    facts: Mapping[str, Facts],
    read: Mapping[str, TrackFile],
    encryption: Encrypted | None,
    folder: Path,
) -> list[Rendition]:
    """The renditions in the order of the tracks. Sounds and videos have one target duration."""
    parts = {name: segments(file) for name, file in read.items()}
    common = max(target(part) for part in parts.values())
    length = max(read[track.name].seconds for track in tracks if track.kind == "video")
    renditions = []
    for track in tracks:
        if track.kind == "text":
            renditions.append(_text(track, length, folder))
            continue
        file, part, path = read[track.name], parts[track.name], package_file(folder, track)
        frames = key_frames(file) if track.kind != "audio" else []
        if encryption and encryption.scheme == "aes-128":
            part, frames = encrypt(path, file.init, part, encryption.key), []
        renditions.append(_rendition(track, facts[track.name], file, part, frames, common, path.stat().st_size))
    return renditions


def _rendition(
    track: Track, facts: Facts, file: TrackFile, part: list[Segment], frames: list[Segment], common: int, size: int
) -> Rendition:
    return Rendition(
        track=track,
        facts=facts,
        segments=part,
        frames=frames,
        timescale=file.timescale,
        rate=file.rate,
        init=file.init,
        sidx=file.sidx,
        target=common,
        size=size,
        overhead=size - sum(fragment.sample_bytes for fragment in file.fragments),
        channel=least_rate(file, peak(part, common), dash.BUFFER_SECONDS),
    )


def _text(track: Track, length: Fraction, folder: Path) -> Rendition:
    """Subtitles as one segment that lasts as long as the film."""
    path = folder / f"{PREFIX}{track.name}.vtt"
    path.write_bytes(timed(track.file.read_bytes()))
    size = path.stat().st_size
    part = [Segment(0, size, length)]
    return Rendition(track, None, part, [], 1000, Fraction(0), 0, (0, 0), target(part), size, 0)


def _finish(
    renditions: list[Rendition],
    formats: Collection[Format],
    encryption: Encrypted | None,
    thumbnails: Thumbnails | None,
    version: str,
    folder: Path,
) -> Packaged:
    """Write the playlists and the MPD, and list the package's files."""
    length = max(one.seconds for one in renditions if one.track.kind == "video")
    files = [(folder / f"{PREFIX}{one.file}", f"{version}/{one.file}") for one in renditions]
    entries: list[tuple[Path, str]] = []
    images = None
    if thumbnails and (shown := hls.sheets(thumbnails, length)):
        names = [f"sprite-{number}.jpg" for number in range(1, len(shown) + 1)]
        images = (thumbnails, shown, names)
        files += [(path, f"{version}/{name}") for path, name in zip(thumbnails.files, names, strict=False)]

    def write(content: str | bytes, name: str, below: str = version) -> tuple[Path, str]:
        path = folder / f"{PREFIX}{name}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path, f"{below}/{name}" if below else name

    if "hls" in formats:
        for one in renditions:
            if one.track.kind == "text":
                files.append(write(hls.text_playlist(one), one.playlist))
            elif one.track.kind != "trick":
                files.append(write(hls.media_playlist(one, encryption, version), one.playlist))
            if one.frames:
                files.append(write(hls.frame_playlist(one, encryption, version), one.frame_playlist))
        if images:
            files.append(write(hls.image_playlist(*images), hls.IMAGES))
    if "dash" in formats:
        entries.append(write(dash.mpd(renditions, version, length, encryption, images), MANIFEST, ""))
    if "hls" in formats:
        entries.append(write(multivariant.multivariant(renditions, version, images and images[:2]), MASTER, ""))
    notices = [_NO_FRAMES] if encryption and encryption.scheme == "aes-128" else []
    return Packaged([*files, *entries], [one.figures for one in renditions], notices)
