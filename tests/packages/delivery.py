"""Rules of delivery, for a package that is reached by URL: types, redirects and what browsers need."""

import json
from collections.abc import Iterator
from typing import Any

from tests.packages.package import Package
from tests.packages.rules import Finding, rule

TYPES = {
    ".m3u8": ("application/vnd.apple.mpegurl", "audio/mpegurl"),
    ".mpd": ("application/dash+xml",),
    ".mp4": ("video/mp4", "audio/mp4"),
    ".vtt": ("text/vtt",),
    ".jpg": ("image/jpeg",),
}


def _headers(package: Package) -> dict[str, dict[str, Any]]:
    """The headers that a download kept; none of a folder."""
    kept = package.root / "headers.json"
    found: dict[str, dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else {}
    return found


@rule("content-types", "Apple 10.4", "SHOULD")
def content_types(package: Package) -> Iterator[Finding]:
    """Answers have the media types that players expect."""
    for name, headers in _headers(package).items():
        wanted = TYPES.get(name[name.rfind(".") :], ())
        shown = headers.get("content-type", "missing")
        yield Finding(name, shown, shown.partition(";")[0] in wanted)


@rule("no-redirects", "Apple 8.18")
def no_redirects(package: Package) -> Iterator[Finding]:
    """Requests for media are not redirected."""
    for name, headers in _headers(package).items():
        yield Finding(name, headers["url"], headers["url"].partition("?")[0].endswith(name))


@rule("cross-origin", "Fetch, CORS protocol")
def cross_origin(package: Package) -> Iterator[Finding]:
    """Answers may be read by pages of other origins."""
    for name, headers in _headers(package).items():
        shown = headers.get("access-control-allow-origin", "missing")
        yield Finding(name, shown, shown != "missing")
