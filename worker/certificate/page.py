"""The certificate as one self-contained HTML page that loads nothing else. Pure."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
from jinja2 import FileSystemLoader

from elasticrecode.jobs.events import Quality
from worker.certificate.document import Certificate
from worker.quality import html_report
from worker.quality.html_report import Moment, clock

_MOST_ROWS = 500
_PLACES = 2


class _Table(NamedTuple):
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def render(certificate: Certificate, moments: Sequence[Moment]) -> str:
    """The page. `moments` are the worst frames, with their pictures."""
    broken = list(dict.fromkeys(rule.rule for rule in certificate.rules if not rule.passed))
    return _TEMPLATE.render(
        name=certificate.input.uri.rpartition("/")[2],
        of=certificate,
        source=_source(certificate),
        broken=broken,
        moments=moments,
        tables=[table._replace(rows=table.rows[:_MOST_ROWS]) for table in _tables(certificate)],
    )


def _source(certificate: Certificate) -> dict[str, str]:
    source, video = certificate.input, certificate.input.video
    picture = " ".join(str(video[name]) for name in ("codec", "pixelFormat") if name in video)
    colour = "/".join(str(video.get(name, "unknown")) for name in ("primaries", "transfer", "matrix", "range"))
    facts = {
        "Source": source.uri,
        "ETag": source.etag,
        "Version": source.version,
        "SHA-256": source.sha256,
        "Size": f"{source.bytes} bytes",
        "Length": clock(source.duration, 3) if source.duration else "",
        "Picture": f"{picture} {video['width']}x{video['height']}, {video['frameRate']:g} fps" if video else "",
        "Colour": colour if video else "",
        "Job": f"{certificate.job}, attempt {certificate.attempt}, {certificate.written}",
        "Copy of": f"the outputs of {certificate.copyOf}, which the runs below have made" if certificate.copyOf else "",
    }
    return {label: text for label, text in facts.items() if text}


def _tables(certificate: Certificate) -> list[_Table]:
    return [
        _Table("Quality", ("figure", "value"), _quality(certificate.quality)),
        _Table(
            "Outputs",
            ("role", "file", "bytes", "SHA-256"),
            [
                (each.role or "", each.uri.rpartition("/")[2], f"{each.bytes}", each.sha256 or "")
                for each in certificate.outputs
            ],
        ),
        _Table(
            "Rate in bits per second",
            ("video", "mean", "most in 1 s", "cap", "buffer", "verdict"),
            [
                (
                    *(each.name, f"{each.mean}", f"{each.peak}", _figure(each.cap), _figure(each.buffer)),
                    "" if each.is_kept is None else "kept" if each.is_kept else f"exceeded by {each.overflow} bits",
                )
                for each in certificate.rates
            ],
        ),
        _Table(
            "Loudness in LUFS",
            ("sound", "source", "output", "target", "true peak in dBTP"),
            [
                (each.name, *map(_figure, (each.source, each.output, each.target, each.peak)))
                for each in certificate.loudness
            ],
        ),
        _Table("Parts", ("part", "output", "attempt", "CRF", "VMAF", "bits", "frames"), list(_parts(certificate))),
        _Table(
            "Checks",
            ("check", "of", "verdict", "measured"),
            [
                (each.rule, each.where, "passed" if each.passed else "FAILED", each.measured)
                for each in certificate.rules
            ],
        ),
        _Table("Programs", ("program", "version", "libraries", "SHA-256"), list(_programs(certificate))),
    ]


def _quality(quality: Quality | None) -> list[tuple[str, str]]:
    """Every figure of the summary, by its name."""
    fields = msgspec.to_builtins(quality) if quality else {}
    rows = []
    for name, value in fields.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        rows += [(f"{name} {part}".strip(), _text(each)) for part, each in inner if isinstance(each, str | int | float)]
    return rows


def _parts(certificate: Certificate) -> Iterable[tuple[str, ...]]:
    for part in certificate.film.parts if certificate.film else ():
        for name, each in part.outputs.items():
            crf = f"{each.crf:g}"
            yield part.name, name, f"{part.attempt}", crf, _figure(each.vmaf), f"{each.bits}", f"{each.frames}"


def _programs(certificate: Certificate) -> Iterable[tuple[str, ...]]:
    for each in certificate.programs:
        libraries = ", ".join(f"{name} {version}" for name, version in each.libraries.items())
        yield each.name, each.version, libraries, each.sha256


def _figure(value: float | None) -> str:
    return "" if value is None else _text(value)


def _text(value: float | str) -> str:
    return f"{value:.{_PLACES}f}" if isinstance(value, float) else f"{value}"


_FOLDERS = (Path(__file__).parent, Path(html_report.__file__).parent)
_TEMPLATE = html_report.ENVIRONMENT.overlay(loader=FileSystemLoader(_FOLDERS)).get_template("certificate.html")
