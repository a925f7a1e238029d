"""A package as a player finds it: playlists, manifest, tracks and images, reached from its entry files."""

import json
import urllib.request
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from urllib.parse import urljoin

from tests.packages.manifest import Manifest
from tests.packages.playlists import Master, Playlist, Range, Rendition, Variant, resolve
from tests.packages.tracks import Track

MASTER, MANIFEST = "master.m3u8", "manifest.mpd"


class Package:
    """The files below a folder that its entry files reach. `key` is the content key, where one is known."""

    def __init__(self, root: Path, *, key: bytes | None = None) -> None:
        self.root, self.key = root, key
        self.master = Master(MASTER, self.text(MASTER)) if (root / MASTER).exists() else None
        self.manifest = Manifest(self.text(MANIFEST)) if (root / MANIFEST).exists() else None
        if self.master is None and self.manifest is None:
            raise FileNotFoundError(f"{root} holds neither {MASTER} nor {MANIFEST}")

    def read(self, name: str) -> bytes:
        """The bytes of a file."""
        return (self.root / name).read_bytes()

    def text(self, name: str) -> str:
        """A file as text."""
        return self.read(name).decode()

    @cached_property
    def playlists(self) -> dict[str, Playlist]:
        """The media playlists that the master names and that exist, by name."""
        return {name: Playlist(name, self.text(name)) for name in self.named if (self.root / name).is_file()}

    @cached_property
    def named(self) -> list[str]:
        """The names of playlists in the master, in its order."""
        if self.master is None:
            return []
        master = self.master
        variants = [*master.variants, *master.iframes, *master.images]
        names = [variant.playlist for variant in variants] + [rendition.playlist for rendition in master.renditions]
        return list(dict.fromkeys(name for name in names if name))

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The bytes of each file below the folder."""
        return {
            str(path.relative_to(self.root)): path.stat().st_size for path in self.root.rglob("*") if path.is_file()
        }

    @cached_property
    def tracks(self) -> dict[str, Track]:
        """The MP4 files that playlists and the manifest name, by name; not those whose segments are ciphertext."""
        names = [place.file for one in self.playlists.values() if not one.is_ciphertext for place in one.maps]
        if self.manifest:
            names += [shown.file for shown in self.manifest.representations if shown.index_range]
        wanted = [name for name in dict.fromkeys(names) if name in self.sizes]
        return {name: Track(self.root / name, name, self.read(name)) for name in wanted}

    def playlist(self, item: Variant | Rendition) -> Playlist | None:
        """The playlist that a variant or rendition names, if it exists."""
        return self.playlists.get(item.playlist)

    def track(self, playlist: Playlist | None) -> Track | None:
        """The MP4 file of a playlist; None for text and images."""
        return self.tracks.get(playlist.maps[0].file) if playlist and playlist.maps else None

    @cached_property
    def media(self) -> list[tuple[Playlist, Track]]:
        """The playlists of video and audio with their tracks, without I-frame playlists."""
        found = ((playlist, self.track(playlist)) for playlist in self.playlists.values() if not playlist.is_iframes)
        return [(playlist, track) for playlist, track in found if track]

    @cached_property
    def video(self) -> list[tuple[Playlist, Track]]:
        """The playlists of video with their tracks."""
        return [pair for pair in self.media if pair[1].kind == "video"]

    @cached_property
    def audio(self) -> list[tuple[Playlist, Track]]:
        """The playlists of audio with their tracks."""
        return [pair for pair in self.media if pair[1].kind == "audio"]

    @cached_property
    def duration(self) -> Fraction:
        """Seconds of the content: of the longest video, else of the longest track; by EXTINF if none is legible."""
        tracks = [track for _, track in self.video] or list(self.tracks.values())
        written = [one.duration for one in self.playlists.values() if one.is_ciphertext]
        return max([track.duration for track in tracks] or written, default=Fraction(0))

    @cached_property
    def variants(self) -> list[tuple[Variant, Playlist, Track]]:
        """The variants with the playlist and track that they name."""
        items = self.master.variants if self.master else []
        return [
            (item, playlist, track)
            for item in items
            if (playlist := self.playlist(item)) and (track := self.track(playlist))
        ]

    @cached_property
    def iframes(self) -> list[tuple[Variant, Playlist, Track]]:
        """The I-frame variants with the playlist and track that they name."""
        items = self.master.iframes if self.master else []
        return [
            (item, playlist, track)
            for item in items
            if (playlist := self.playlist(item)) and (track := self.track(playlist))
        ]

    def members(self, kind: str, group: str) -> list[tuple[Rendition, Playlist]]:
        """The renditions of a group with their playlists."""
        items = self.master.of_kind(kind) if self.master else []
        return [(item, found) for item in items if item.group[1] == group and (found := self.playlist(item))]

    def range_size(self, place: Range) -> int:
        """Bytes of a range."""
        return (place.end if place.end is not None else self.sizes.get(place.file, 0)) - place.start

    @cached_property
    def is_encrypted(self) -> bool:
        """Whether a playlist, a track or the manifest says that media is encrypted."""
        keys = any(segment.method != "NONE" for playlist in self.playlists.values() for segment in playlist.segments)
        return keys or any(track.protection for track in self.tracks.values())


def download(url: str, folder: Path) -> dict[str, dict[str, str]]:
    """Fetch a package from the URL of its folder or of an entry file; the headers of each answer, by name of file."""
    base = url if url.endswith("/") else url.rsplit("/", 1)[0] + "/" if url.endswith((".m3u8", ".mpd")) else url + "/"
    headers: dict[str, dict[str, str]] = {}
    waiting = [MASTER, MANIFEST]
    while waiting:
        name = waiting.pop()
        target = folder / name
        if name in headers or not target.resolve().is_relative_to(folder.resolve()):
            continue
        try:
            # S3 and CloudFront say what pages may read only to requests that name a page's origin.
            request = urllib.request.Request(urljoin(base, name), headers={"Origin": "https://player.example.com"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(answer.read())
                headers[name] = {"url": answer.url, **{key.lower(): value for key, value in answer.headers.items()}}
        except urllib.error.HTTPError:
            if name not in (MASTER, MANIFEST):
                raise
            continue
        waiting += _references(name, target)
    if not headers:
        raise FileNotFoundError(f"{base} holds neither {MASTER} nor {MANIFEST}")
    (folder / "headers.json").write_text(json.dumps(headers))
    return headers


def _references(name: str, file: Path) -> list[str]:
    """The files that a playlist or manifest names."""
    if name == MASTER:
        master = Master(name, file.read_text())
        variants = [*master.variants, *master.iframes, *master.images]
        names = [item.playlist for item in variants] + [item.playlist for item in master.renditions]
        return [playlist for playlist in names if playlist]
    if name.endswith(".m3u8"):
        return sorted(Playlist(name, file.read_text()).files)
    if name == MANIFEST:
        return [resolve(name, one) for shown in Manifest(file.read_text()).representations for one in shown.files]
    return []
