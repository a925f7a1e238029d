"""Rules of encryption: methods and boxes of Common Encryption, its pattern, and that no key lies in the package."""

import base64
import re
import subprocess
from collections.abc import Iterator

from tests.packages.package import Package
from tests.packages.rules import Finding, rule

METHODS = {"cbcs": "SAMPLE-AES", "cenc": "SAMPLE-AES-CTR"}
FAIRPLAY = "com.apple.streamingkeydelivery"


@rule("key-method", "Apple 13.2, 13.11")
def key_method(package: Package) -> Iterator[Finding]:
    """An encrypted package uses SAMPLE-AES with cbcs, or AES-128; never SAMPLE-AES-CTR."""
    if package.is_encrypted:
        for playlist, track in package.media:
            methods = {segment.method for segment in playlist.segments}
            scheme = track.protection.scheme if track.protection else "none"
            passed = (methods == {"SAMPLE-AES"} and scheme == "cbcs") or (methods == {"AES-128"} and scheme == "none")
            yield Finding(playlist.name, f"{sorted(methods)}, boxes {scheme}", passed)


@rule("key-everywhere", "RFC 8216bis 4.4.4.4")
def key_everywhere(package: Package) -> Iterator[Finding]:
    """In an encrypted package every segment of video and audio has a key, I-frames too, each with one URI."""
    if package.is_encrypted:
        playlists = [playlist for playlist, _ in package.media] + [playlist for _, playlist, _ in package.iframes]
        for playlist in playlists:
            uris = {segment.key_uri for segment in playlist.segments}
            yield Finding(playlist.name, f"{sorted(uris)}", len(uris) == 1 and "" not in uris)


@rule("fairplay-method", "Apple 13.2, 13.3, 13.4")
def fairplay_method(package: Package) -> Iterator[Finding]:
    """A key of FairPlay has the method SAMPLE-AES, the scheme skd and no IV."""
    for playlist in package.playlists.values():
        for segment in playlist.segments:
            if segment.key_format == FAIRPLAY or segment.key_uri.startswith("skd:"):
                shown = f"{segment.method} {segment.key_format} {segment.key_uri} {segment.iv}"
                passed = segment.method == "SAMPLE-AES" and segment.key_format == FAIRPLAY and not segment.iv
                yield Finding(playlist.name, shown, passed and segment.key_uri.startswith("skd:"))
                break


@rule("pattern-1-9", "Apple 13.7")
def pattern(package: Package) -> Iterator[Finding]:
    """Encrypted video has the pattern 1:9; audio is encrypted whole, pattern 0:0 or 1:0."""
    for track in package.tracks.values():
        if held := track.protection:
            allowed = [(1, 9)] if track.kind == "video" else [(0, 0), (1, 0)]
            yield Finding(track.name, f"{held.pattern[0]}:{held.pattern[1]}", held.pattern in allowed)


@rule("protection-boxes", "ISO/IEC 23001-7 8, 10.4; Apple 1.39 (AirPlay 2)")
def protection_boxes(package: Package) -> Iterator[Finding]:
    """An encrypted track has schm cbcs, tenc with a key and constant IV, and senc or saiz and saio in each fragment."""
    for track in package.tracks.values():
        if held := track.protection:
            bare = 0
            for fragment in track.fragments:
                kinds = {box.kind for box in fragment.moof.every("traf", "*")}
                bare += not ("senc" in kinds or {"saiz", "saio"} <= kinds) and (
                    held.iv_size > 0 or track.kind == "video"
                )
            passed = held.scheme == "cbcs" and any(held.key_id) and len(held.constant_iv) in (8, 16) and not bare
            yield Finding(
                track.name,
                f"{held.scheme}, key {held.key_id.hex()}, IV of {len(held.constant_iv)}, {bare} bare fragments",
                passed,
            )


@rule("one-key-id", "DASH-IF IOP 7.5")
def one_key_id(package: Package) -> Iterator[Finding]:
    """All encrypted tracks of a package made with one key name one key id."""
    ids = {track.protection.key_id.hex() for track in package.tracks.values() if track.protection}
    if ids:
        yield Finding("tracks", ", ".join(sorted(ids)), len(ids) == 1)


@rule("no-key-in-clear", "RFC 8216bis 10")
def no_key_in_clear(package: Package) -> Iterator[Finding]:
    """No file holds the key: no data URI in a playlist, and neither its bytes, hex nor base64 anywhere."""
    for name in sorted(package.sizes) if package.is_encrypted else []:
        data = package.read(name)
        inline = name.endswith((".m3u8", ".mpd")) and re.search(rb'URI="data:', data)
        forms = []
        if package.key:
            forms = [
                package.key,
                package.key.hex().encode(),
                package.key.hex().upper().encode(),
                base64.b64encode(package.key),
            ]
        held = any(form in data for form in forms)
        yield Finding(name, "data URI" if inline else "key" if held else "no key", not inline and not held)


@rule("decrypts", "ISO/IEC 23001-7 10.4")
def decrypts(package: Package) -> Iterator[Finding]:
    """With its key each encrypted track decodes without an error, and without it it does not."""
    for track in package.tracks.values():
        if track.protection and package.key:
            right, wrong = (_errors(track.path.as_posix(), key) for key in (package.key.hex(), "00" * 16))
            yield Finding(track.name, f"{right} errors with the key, {wrong} with another", right == 0 and wrong > 0)


def _errors(file: str, key: str) -> int:
    """Lines that ffmpeg complains of when it decodes a file with a key."""
    command = ["ffmpeg", "-v", "error", "-decryption_key", key, "-i", file, "-f", "null", "-"]
    return len(subprocess.run(command, capture_output=True, check=False, timeout=120).stderr.splitlines())
