"""Chunks that real encoders made by `rates`: the cap holds over seams, the size is right, and no end of one is poor."""

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest

from elasticrecode.media.profiles import Ffmpeg, Target, bits
from tests.media.case import BUNNY, FFMPEG, FFPROBE
from worker.media import rates
from worker.media.bucket import overflow
from worker.media.colour import Signal
from worker.media.encoders import encoder_options
from worker.media.rates import Coded, Span

RATE = 25
TICKS = 90_000
SIGNAL = Signal(
    range="tv", matrix="bt709", primaries="bt709", transfer="bt709", dynamic_range="sdr", pixel_format="yuv420p"
)
BURSTS = "noise=alls=70:allf=t:enable='lt(mod(t+0.8,4),1.6)'"
"""Noise around each seam of chunks of 4 s: 0.8 s before it and as long behind it."""
SCENES = (
    "hue=s='1+sin(t/3)',crop=320:180:x='160+150*sin(t/7)':y='90+80*cos(t/5)',"
    "noise=alls=12:allf=t:enable='lt(mod(t,20),9)'"
)


class Packet(NamedTuple):
    decoded: int
    size: int


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rates")


def film(folder: Path, name: str, filters: str, seconds: float, length: Sequence[str] = ()) -> Path:
    """A film without loss, made of the sample over and over."""
    path = folder / f"{name}.mkv"
    if not path.exists():
        source = ["-stream_loop", "-1", "-i", str(BUNNY), "-t", str(seconds), "-an", "-vf", filters, "-r", str(RATE)]
        lossless = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-g", "25", "-bf", "0"]
        subprocess.run([FFMPEG, "-v", "error", "-y", *source, *length, *lossless, str(path)], check=True)
    return path


def encode_span(source: Path, encode: Ffmpeg, start: float, seconds: float, *, with_tail: bool = False) -> list[Packet]:
    """The packets of a span of a film, which is encoded as a chunk: times in frames from its start, and bytes."""
    target = source.with_name("span.mp4")
    tail = rates.tail(round(seconds * RATE), Fraction(RATE), TICKS) if with_tail else rates.Tail(("null",), ())
    opened = ["-ss", str(start), "-t", str(seconds), "-i", str(source), "-vf", ",".join(tail.filters)]
    clock = ("-fps_mode", "passthrough", "-enc_time_base:v", f"1/{TICKS}")
    options = encoder_options(encode, SIGNAL, RATE, "mp4", 1, gop=2 * RATE)
    command = [FFMPEG, "-v", "error", "-y", *opened, *clock, *options, *tail.options, str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return packets(target)


def packets(path: Path) -> list[Packet]:
    """The packets of a file, with the frames between the first one's time and that at which each is decoded."""
    entries = ["-select_streams", "v:0", "-show_entries", "packet=dts_time,size", "-of", "csv=p=0"]
    text = subprocess.run([FFPROBE, "-v", "error", *entries, str(path)], check=True, capture_output=True, text=True)
    lines = [line.split(",") for line in text.stdout.split()]
    first = float(lines[0][0])
    return [Packet(round((float(time) - first) * RATE), int(size)) for time, size, *_ in lines]


def size(coded: Sequence[Packet]) -> int:
    """Bits of packets."""
    return 8 * sum(packet.size for packet in coded)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_no_window_exceeds_the_cap_where_the_film_is_hardest_around_its_seams(folder: Path, codec: str) -> None:
    source = film(folder, "bursts", f"scale=320:180,{BURSTS}", 16)
    quality = Target(crf=18.0)
    encode = Ffmpeg(
        codec=codec, scale="320:180", quality=quality, maxBitrate="600K", buffersize="900K", speed="fast"
    )  # fmt: skip
    plan = rates.analysed(encode, [Span(2.0)] * 8)
    safe: list[Packet] = []
    full: list[Packet] = []
    for number in range(4):
        is_last = number == 3
        chunk = rates.chunk_encode(encode, plan, quality.factor, 4.0, at_end=number in (0, 3))
        for joined, options in ((safe, chunk), (full, encode)):
            own = encode_span(source, options, 4 * number, 4, with_tail=not is_last)
            joined += [packet._replace(decoded=packet.decoded + 4 * RATE * number) for packet in own]
    assert overflow(full, RATE, 600_000, 900_000) > 0
    assert overflow(safe, RATE, 600_000, 900_000) == 0
    assert size(safe) > 0.5 * size(full)


@pytest.mark.parametrize(("codec", "speed"), [("libx264", "fast"), ("libx264", "medium"), ("libx265", "fast")])
def test_the_end_of_a_chunk_has_the_bits_that_it_has_in_the_whole(folder: Path, codec: str, speed: str) -> None:
    source = film(folder, "calm", "scale=640:360", 5.2)
    encode = Ffmpeg(codec=codec, scale="640:360", quality=Target(crf=24.0), speed=speed)  # type: ignore[arg-type]
    whole = encode_span(source, encode, 0, 5.2)[: 4 * RATE]
    bare = encode_span(source, encode, 0, 4)
    chunk = encode_span(source, encode, 0, 4, with_tail=True)
    decoded = [FFMPEG, "-v", "error", "-i", str(source.with_name("span.mp4")), "-f", "null", "-"]
    assert subprocess.run(decoded, check=True, capture_output=True).stderr == b""
    assert len(chunk) == len(bare) == 4 * RATE
    last = slice(4 * RATE - 12, None)
    assert size(bare[last]) < 0.75 * size(whole[last])
    assert 0.85 * size(whole[last]) < size(chunk[last]) < 1.5 * size(whole[last])
    assert 0.97 * size(whole) < size(chunk) < 1.03 * size(whole)


def test_a_film_in_chunks_has_the_size_that_its_mean_bitrate_asks_for(folder: Path) -> None:
    """An analysis, and then 30 chunks one after another, each corrected by those before."""
    source = film(folder, "scenes", SCENES, 120)
    encode = Ffmpeg(
        codec="libx264", scale="320:180", bitrate="400K", maxBitrate="800K", buffersize="800K", speed="fast"
    )
    lossless = packets(source)
    spans = [
        Span(2.0, float(sum(packet.size for packet in lossless[at : at + 2 * RATE]))) for at in range(0, 3000, 2 * RATE)
    ]
    probes: list[Coded] = []
    crf: float | None = rates.first_crf(encode, 320 * 180 * RATE)
    while crf is not None:
        for number in rates.windows(spans):
            own = encode_span(source, rates.probe_encode(encode, crf), 2 * number, 2)
            probes.append(Coded(spans[number], crf, size(own)))
        crf = rates.next_crf(encode, spans, probes)
    plan = rates.analysed(encode, spans, probes)
    chunks = [Span(4.0, one.weight + other.weight) for one, other in zip(spans[::2], spans[1::2], strict=True)]
    finished: dict[int, Coded] = {}
    for number, chunk in enumerate(chunks):
        is_end = number in (0, len(chunks) - 1)
        factor = rates.chunk_crf(plan, chunks, finished)
        options = rates.chunk_encode(encode, plan, factor, 4.0, at_end=is_end)
        coded = encode_span(source, options, 4 * number, 4, with_tail=number < len(chunks) - 1)
        finished[number] = Coded(chunk, factor, size(coded))
    assert sum(coded.bits for coded in finished.values()) == pytest.approx(120 * bits("400K"), rel=0.01)
