"""Measures of tags, chapters, subtitles and pictures, from the files."""

from tests.media.case import Made
from tests.media.measures import report

_CONTAINERS_OWN = {"major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "DURATION"}
_TRACKS_OWN = {"handler_name", "vendor_id", "language"}


def file_tags(made: Made) -> object:
    """Tags of the whole output, but those that its muxer writes."""
    tags = report(made.target)["format"].get("tags", {})
    return sorted(f"{name}={value}" for name, value in tags.items() if name not in _CONTAINERS_OWN)


def track_tags(made: Made) -> object:
    """Tags of the output's tracks, but languages and those that its muxer writes."""
    names = {name for stream in report(made.target)["streams"] for name in stream.get("tags", {})}
    return sorted(names - _CONTAINERS_OWN - _TRACKS_OWN)


def secrets(made: Made) -> object:
    """Times that the output's bytes hold `SECRET` or a place's coordinates."""
    body = made.target.read_bytes()
    return body.count(b"SECRET") + body.count(b"+50.82")


def chapters(made: Made) -> object:
    """Chapters of the output: start, end and title."""
    return [
        f"{float(one['start_time']):g}-{float(one['end_time']):g} {one.get('tags', {}).get('title', '')}".strip()
        for one in report(made.target)["chapters"]
    ]
