"""Hostile indexes: whatever stands in the tables of a file, reading them ends, and ends in the two errors it may."""

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.corpus import H264, SMALL, SOUND, Maker, box, boxes, changed, element, patched, uint
from tests.media.case import SETTINGS
from worker.cuts import ebml, objects, tables
from worker.cuts.index import Uncuttable, make_cut, open_index
from worker.cuts.keyframes import is_gradual
from worker.cuts.objects import LocalFile, Span, joined
from worker.cuts.transport import packets_of, pictures, without
from worker.errors import PermanentError
from worker.sandbox.limits import used_bytes
from worker.sandbox.runner import Runner

FILM = (*SMALL, *SOUND, "-shortest", *H264, "-g", "5")


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return Maker(tmp_path_factory.mktemp("clips"))


@pytest.fixture(autouse=True)
def by_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_SMALL", 0)


def cut(content: bytes, folder: Path) -> str:
    """Open a file and cut it: `cut`, or how that ended."""
    path = folder / "source"
    path.write_bytes(content)
    file, runner = LocalFile(path, Runner()), Runner()
    try:
        _, index = open_index(file, folder, SETTINGS, runner)
        for start, end in ((0.0, 0.4), (0.4, None)):
            make_cut(index.film, index.recipe(start, end), file, folder / "cut", runner)
    except Uncuttable:
        return "uncuttable"
    except PermanentError as error:
        return error.failure.code
    return "cut"


def test_the_film_itself_can_be_cut(make: Maker, tmp_path: Path) -> None:
    for name in ("film.mp4", "film.mkv", "film.ts"):
        folder = tmp_path / name
        folder.mkdir()
        assert cut(make(name, *FILM), folder) == "cut"


MOST = struct.pack(">I", 0xFFFFFFFF)
TABLES: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "sizes beyond the file": (b"stsz", lambda table: table[:12] + MOST * ((len(table) - 12) // 4)),
    "more sizes than the table has": (b"stsz", patched(8, MOST)),
    "one size for billions": (b"stsz", lambda _: struct.pack(">III", 0, 1 << 30, 0xFFFFFFFF)),
    "offsets beyond the file": (b"stco", lambda table: table[:8] + MOST * ((len(table) - 8) // 4)),
    "billions of samples in a chunk": (b"stsc", lambda _: struct.pack(">5I", 0, 1, 1, 0xFFFFFFFF, 1)),
    "chunks that count down": (b"stsc", lambda _: struct.pack(">8I", 0, 2, 9, 1, 1, 3, 1, 1)),
    "steps of years": (b"stts", lambda _: struct.pack(">4I", 0, 1, 25, 0x7FFFFFFF)),
    "no time at all": (b"stts", lambda _: struct.pack(">4I", 0, 1, 25, 0)),
    "a clock without ticks": (b"mdhd", patched(12, bytes(4))),
    "pictures shown long before they are decoded": (b"ctts", lambda _: struct.pack(">4I", 1 << 24, 1, 25, 1 << 31)),
    "an edit list of nothing": (b"elst", lambda _: struct.pack(">IIIiI", 0, 1, 0, -1, 1 << 16)),
    "an edit list at double speed": (b"elst", patched(16, struct.pack(">I", 2 << 16))),
    "no descriptions": (b"stsd", lambda _: bytes(8)),
    "a table that is cut short": (b"stsd", lambda table: table[:20]),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_hostile_table_of_an_mp4_ends_in_an_error_or_in_cuts(name: str, make: Maker, tmp_path: Path) -> None:
    kind, change = TABLES[name]
    assert cut(changed(make("film.mp4", *FILM), kind, change), tmp_path) in ("uncuttable", "input-corrupt", "cut")


def test_a_file_of_endless_boxes_is_not_cut(tmp_path: Path) -> None:
    ftyp = box(b"ftyp", b"isom\0\0\0\0isom")
    assert cut(ftyp + box(b"free", b"") * 100_000, tmp_path) == "uncuttable"
    assert cut(ftyp + struct.pack(">I4sQ", 1, b"moov", 2**63 - 1), tmp_path) == "uncuttable"
    assert cut(ftyp + struct.pack(">I4sQ", 1, b"free", 0), tmp_path) == "uncuttable"


def test_the_first_samples_of_a_track_are_no_more_than_asked_for(make: Maker) -> None:
    film = changed(make("film.mp4", *FILM), b"stsz", lambda _: struct.pack(">III", 0, 4, 0xFFFFFFFF))
    film = changed(film, b"stsc", lambda _: struct.pack(">5I", 0, 1, 1, 0xFFFFFFFF, 1))
    moov = next(box(kind, content) for kind, content in boxes(film) if kind == b"moov")
    (first, *_) = tables.tracks(moov)
    assert len(list(first.spans(50))) == 50


def _cues(points: list[tuple[int, int]]) -> bytes:
    entries = [
        element(0xBB, uint(0xB3, time) + element(0xB7, uint(0xF7, 1) + uint(0xF1, place))) for time, place in points
    ]
    return element(0x1C53BB6B, b"".join(entries))


@pytest.mark.parametrize(
    "points",
    [[(0, 2**60)], [(0, 0), (0, 0)], [(9, 500), (3, 900)], [(2**60, 300)], [(0, 300), (40, 7)], []],
    ids=["beyond the file", "two at once", "backward", "in years", "behind the begin", "none"],
)
def test_hostile_cues_end_in_an_error(points: list[tuple[int, int]], make: Maker, tmp_path: Path) -> None:
    film = make("film.mkv", *FILM)
    begin = film.index(b"\x1c\x53\xbb\x6b")
    end = ebml.element(film, begin, len(film)).end
    assert cut(film[:begin] + _cues(points) + film[end:], tmp_path) in ("uncuttable", "input-corrupt")


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3" + b"\xff" * 40, bytes(1 << 16)]
)
def test_elements_that_are_none_raise_errors_of_values(content: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(ebml.elements(content or b"\x80"))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_damaged_file_ends_in_an_error_or_in_cuts(name: str, make: Maker, tmp_path: Path) -> None:
    rng, whole = random.Random(name), make(name, *FILM)
    for number in range(12):
        data = bytearray(whole)
        if number % 3 == 0:
            del data[rng.randrange(300, len(data)) :]
        places = [rng.randrange(min(len(data), 4000)) for _ in range(6)] + [rng.randrange(len(data)) for _ in range(20)]
        for place in places if number % 3 else ():
            data[place] ^= 1 << rng.randrange(8)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert cut(bytes(data), folder) in ("uncuttable", "input-corrupt", "cut", "input-too-long")


def test_packets_of_a_track_lie_on_boundaries_only() -> None:
    other, own = b"\x47\x01\x23\x10" + b"\x47\x00\x45\x10" * 46, b"\x47\x00\x45\x10" + bytes(184)
    data = other + own + other + own + own + other
    assert list(packets_of(data, 0x45)) == [188, 3 * 188, 4 * 188]
    kept = b"".join(data[start:end] for start, end in without(data, 0x45, 0, len(data)))
    assert kept == other * 3


def test_noise_holds_no_pictures() -> None:
    noise = random.Random(1).randbytes(188 * 3000)
    assert not [each for each in pictures(noise, 0, 0x100, "h264") if each.is_key]


def test_a_recovery_point_in_the_future_is_gradual() -> None:
    assert is_gradual(b"\0\0\0\1\x06\x06\x02\x41\x80")
    assert not is_gradual(b"\0\0\0\1\x06\x06\x01\xc4\x80")
    assert not is_gradual(b"\0\0\0\1\x06\xff\xff\xff")
    assert not is_gradual(b"")


def test_spans_are_joined_across_small_gaps_only() -> None:
    spans = [Span(100, 10), Span(0, 10), Span(14, 6), Span(5, 8)]
    assert joined(spans) == [Span(0, 13), Span(14, 6), Span(100, 10)]
    assert joined(spans, 1) == [Span(0, 20), Span(100, 10)]


def test_a_file_is_fetched_in_the_places_that_are_wanted(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(100_000)
    (tmp_path / "source").write_bytes(content)
    file = LocalFile(tmp_path / "source", Runner())
    (tmp_path / "target").write_bytes(b"head")
    spans = [Span(10, 500), Span(700, 5), Span(90_000, 10_000)]
    file.fetch(spans, tmp_path / "target", [4, 504, 509], 1000)
    assert (tmp_path / "target").read_bytes() == b"head" + content[10:510] + content[700:705] + content[90_000:]
    assert file.bytes_read == 695 + 10_000
    assert file.read(99_990, 50) == content[99_990:]


def test_holes_of_a_sparse_file_take_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
        file.write(bytes(1 << 16))
    assert 1 << 16 <= used_bytes(tmp_path) < 1 << 24
