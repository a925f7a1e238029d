"""Colour charts: patches of known light, written as samples by the formulas of the standards, and read back from files.

Nothing here shares code with the worker, nor uses ffmpeg to convert colours: ffmpeg only stores and loads samples.
"""

import math
import subprocess
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.media.case import FFMPEG, Made, Measure, ffmpeg
from tests.media.measures import film, streams

SIZE, COLUMNS, ROWS = (640, 360), 6, 4
FRAMES = 5
Triple = tuple[float, float, float]

_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
PRIMARIES = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    "bt470bg": ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    "smpte170m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    "smpte240m": ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    "smpte432": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
"""x and y of red, green, blue and white (H.273, table 2)."""
LUMA = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "bt470bg": (0.299, 0.114),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}
"""KR and KB (H.273, table 4)."""


class Form(NamedTuple):
    """How samples are written: ffmpeg's pixel format, H.273's matrix, primaries and transfer, and the range."""

    pixel_format: str = "yuv420p"
    matrix: str = "bt709"
    primaries: str = "bt709"
    transfer: str = "bt709"
    range: str = "tv"

    @property
    def bits(self) -> int:
        return next((bits for bits in (16, 12, 10) if f"p{bits}" in self.pixel_format), 8)

    @property
    def steps(self) -> tuple[int, int]:
        """Pixels for each sample of chroma, across and down."""
        for mark, steps in {"420": (2, 2), "422": (2, 1), "411": (4, 1), "410": (4, 4)}.items():
            if mark in self.pixel_format:
                return steps
        return 1, 1


# Light of a patch is linear R, G and B, where 1 is the white of SDR, which is 203 cd/m² of HDR.
GREYS = [(value,) * 3 for value in (0.0, 0.01, 0.05, 0.18, 0.5, 1.0)]
SDR_PATCHES: list[Triple] = [
    *((g[0], g[1], g[2]) for g in GREYS),
    *((0.9, 0.03, 0.03), (0.03, 0.8, 0.03), (0.03, 0.03, 0.9), (0.8, 0.8, 0.04), (0.04, 0.7, 0.7), (0.8, 0.04, 0.8)),
    *((0.39, 0.20, 0.14), (0.13, 0.07, 0.05), (0.6, 0.35, 0.26), (0.12, 0.19, 0.34), (0.10, 0.15, 0.05)),
    *((0.23, 0.21, 0.43), (0.14, 0.50, 0.40), (0.68, 0.20, 0.03), (0.07, 0.10, 0.38), (0.5, 0.09, 0.12)),
    *((0.33, 0.49, 0.06), (0.77, 0.35, 0.02)),
]
HDR_PATCHES: list[Triple] = [
    *((nits / 203,) * 3 for nits in (1, 5, 26, 50, 100, 203, 300, 500, 750, 1000)),
    *((0.39, 0.24, 0.16), (0.13, 0.08, 0.05), (1.2, 0.8, 0.6), (0.2, 0.5, 1.0), (0.14, 0.20, 0.08), (0.5, 0.42, 0.3)),
    *((0.6, 0.2, 0.08), (0.3, 0.6, 0.15), (0.15, 0.12, 0.6), (3.0, 1.8, 0.5), (1.5, 1.4, 0.4), (0.6, 1.5, 1.7)),
    *((2.5, 2.3, 2.0), (0.9, 0.45, 0.8)),
]
"""Linear R, G and B of BT.2020, all within the gamut of BT.709 but the last of the saturated ones."""


def _invert(rows: Sequence[Triple]) -> list[Triple]:
    (a, b, c), (d, e, f), (g, h, i) = rows
    det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return [
        ((e * i - f * h) / det, (c * h - b * i) / det, (b * f - c * e) / det),
        ((f * g - d * i) / det, (a * i - c * g) / det, (c * d - a * f) / det),
        ((d * h - e * g) / det, (b * g - a * h) / det, (a * e - b * d) / det),
    ]


def _times(rows: Sequence[Triple], vector: Triple) -> Triple:
    x, y, z = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in rows)
    return x, y, z


def to_xyz(primaries: str) -> list[Triple]:
    """Linear RGB to XYZ, by the method of SMPTE RP 177."""
    *corners, white = [(x / y, 1.0, (1 - x - y) / y) for x, y in PRIMARIES[primaries]]
    columns: list[Triple] = [(r, g, b) for r, g, b in zip(*corners, strict=True)]
    scale = _times(_invert(columns), white)
    return [(r * scale[0], g * scale[1], b * scale[2]) for r, g, b in columns]


def xyz(light: Triple, primaries: str) -> Triple:
    """Tristimulus values, 1 for the luminance of SDR's white."""
    return _times(to_xyz(primaries), light)


def in_primaries(value: Triple, primaries: str) -> Triple:
    """Linear R, G and B of tristimulus values, 0 for the least that rounding leaves below it."""
    r, g, b = (max(0.0, part) for part in _times(_invert(to_xyz(primaries)), value))
    return r, g, b


def pq(nits: float) -> float:
    """SMPTE ST 2084's inverse EOTF."""
    y = (nits / 10_000) ** 0.1593017578125
    return float(((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)


def pq_nits(signal: float) -> float:
    """SMPTE ST 2084's EOTF."""
    e = signal ** (1 / 78.84375)
    return float(10_000 * (max(e - 0.8359375, 0) / (18.8515625 - 18.6875 * e)) ** (1 / 0.1593017578125))


def hlg(nits: Triple) -> Triple:
    """ARIB STD-B67's signal for light of a display of 1000 cd/m²: BT.2100's OOTF inverted, then its OETF."""
    luminance = (0.2627 * nits[0] + 0.6780 * nits[1] + 0.0593 * nits[2]) / 1000
    gain = luminance ** ((1 - 1.2) / 1.2) / 1000 if luminance else 0.0
    r, g, b = (_hlg_oetf(value * gain) for value in nits)
    return r, g, b


def _hlg_oetf(scene: float) -> float:
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * math.log(4 * a)
    return math.sqrt(3 * scene) if scene <= 1 / 12 else a * math.log(12 * scene - b) + c


def encoded(light: Triple, transfer: str) -> Triple:
    """R'G'B' for linear light."""
    r, g, b = light
    match transfer:
        case "smpte2084":
            return pq(r * 203), pq(g * 203), pq(b * 203)
        case "arib-std-b67":
            return hlg((r * 203, g * 203, b * 203))
        case "iec61966-2-1":
            return _srgb(r), _srgb(g), _srgb(b)
    return r ** (1 / 2.4), g ** (1 / 2.4), b ** (1 / 2.4)


def _srgb(value: float) -> float:
    return 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055


def decoded(signal: Triple, transfer: str) -> Triple:
    """Linear light for R'G'B', by the display's EOTF."""
    r, g, b = (min(1.0, max(0.0, value)) for value in signal)
    match transfer:
        case "smpte2084":
            return pq_nits(r) / 203, pq_nits(g) / 203, pq_nits(b) / 203
        case "iec61966-2-1":
            r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (r, g, b))
            return r, g, b
        case "arib-std-b67":
            scene = [v * v / 3 if v <= 0.5 else (math.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12
                     for v in (r, g, b)]  # fmt: skip
            y = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2]
            r, g, b = (1000 / 203 * y**0.2 * v for v in scene)
            return r, g, b
    return r**2.4, g**2.4, b**2.4


def samples(signal: Triple, form: Form) -> tuple[int, ...]:
    """Code values of a pixel, in the order of the format's planes."""
    top, shift = (1 << form.bits) - 1, 1 << (form.bits - 8)
    r, g, b = signal
    if form.matrix == "gbr":
        return tuple(round(value * top) for value in (g, b, r))
    if form.matrix == "ycgco":
        y, cb, cr = (r + 2 * g + b) / 4, (2 * g - r - b) / 4, (r - b) / 2
    else:
        kr, kb = LUMA[form.matrix]
        y = kr * r + (1 - kr - kb) * g + kb * b
        cb, cr = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    if form.range == "pc":
        values = (y * top, cb * top + 128 * shift, cr * top + 128 * shift)
    else:
        values = ((219 * y + 16) * shift, (224 * cb + 128) * shift, (224 * cr + 128) * shift)
    return tuple(min(top, round(value)) for value in values)


def pixels(values: Sequence[float], form: Form) -> Triple:
    """R'G'B' of code values; `values` are those of the planes."""
    top, shift = (1 << form.bits) - 1, 1 << (form.bits - 8)
    if form.matrix == "gbr":
        g, b, r = (value / top for value in values)
        return r, g, b
    kr, kb = LUMA[form.matrix]
    if form.range == "pc":
        y, cb, cr = values[0] / top, (values[1] - 128 * shift) / top, (values[2] - 128 * shift) / top
    else:
        y = (values[0] / shift - 16) / 219
        cb, cr = ((value / shift - 128) / 224 for value in values[1:3])
    r, b = y + (2 - 2 * kr) * cr, y + (2 - 2 * kb) * cb
    return r, (y - kr * r - kb * b) / (1 - kr - kb), b


def chart(
    folder: Path,
    name: str,
    patches: Sequence[Triple],
    form: Form,
    *options: object,
    tags: bool = True,
    size: tuple[int, int] = SIZE,
) -> Path:
    """A film of patches whose light is known. `options` are ffmpeg's for the encoder; without `tags` it tells none."""
    (wide, high), frame = size, bytearray()
    code = "H" if form.bits > 8 else "B"
    rows = [samples(encoded(light, form.transfer), form) for light in patches]
    for plane in range(1 if form.pixel_format.startswith("gray") else 3):
        across, down = form.steps if plane else (1, 1)
        lines = []
        for row in range(ROWS):
            line = array(code)
            for x in range(wide // across):
                line.append(rows[row * COLUMNS + x * across * COLUMNS // wide][plane])
            lines.append(line.tobytes())
        for y in range(high // down):
            frame += lines[y * down * ROWS // high]
    raw = folder / "chart.raw"
    raw.write_bytes(bytes(frame) * FRAMES)
    told = (
        f"range={form.range}:color_primaries={form.primaries}:color_trc={form.transfer}:colorspace={form.matrix}"
        if tags
        else "range=unknown:color_primaries=unknown:color_trc=unknown:colorspace=unknown"
    )
    raw_form = ("-f", "rawvideo", "-pix_fmt", form.pixel_format, "-s", f"{wide}x{high}", "-r", 25, "-i", raw)
    made = ffmpeg(folder, name, *raw_form, "-vf", f"setparams={told}", *options)
    raw.unlink()
    return made


def light_of(path: Path, form: Form) -> list[Triple]:
    """XYZ of each patch of a file's first frame, read as the form says."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v:0", "-frames:v", "1"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True).stdout
    values = array("H" if form.bits > 8 else "B", raw)
    stream = streams(path, "video")[0]
    planes, start = [], 0
    for plane in range(3):
        across, down = form.steps if plane else (1, 1)
        width, height = stream["width"] // across, stream["height"] // down
        planes.append((values[start : start + width * height], width, height))
        start += width * height
    light = []
    for patch in range(COLUMNS * ROWS):
        means = [_mean(*plane, patch % COLUMNS, patch // COLUMNS) for plane in planes]
        light.append(xyz(decoded(pixels(means, form), form.transfer), form.primaries))
    return light


def _mean(plane: "array[int]", width: int, height: int, column: int, row: int) -> float:
    """Mean of the middle of a patch."""
    left, right = ((column + part) * width // COLUMNS for part in (0.3, 0.7))
    top, bottom = ((row + part) * height // ROWS for part in (0.3, 0.7))
    lines = (plane[y * width + int(left) : y * width + int(right)] for y in range(int(top), int(bottom)))
    middle = [value for line in lines for value in line]
    return sum(middle) / len(middle)


def told(path: Path) -> Form:
    """The form that a file tells. Raises KeyError for a file that does not tell all of it."""
    stream = streams(path, "video")[0]
    names = ("pix_fmt", "color_space", "color_primaries", "color_transfer", "color_range")
    return Form(*(stream[name] for name in names))


def delta_e(one: Triple, other: Triple) -> float:
    """CIEDE2000 of two tristimulus values, for D65 of luminance 1."""
    (l1, a1, b1), (l2, a2, b2) = _lab(one), _lab(other)
    mean = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean**7 / (mean**7 + 25**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 if (a or b) else 0.0 for a, b in ((a1, b1), (a2, b2)))
    dh = 0.0 if not c1 * c2 else (h2 - h1 + 180) % 360 - 180
    dl, dc = l2 - l1, c2 - c1
    dh_ = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(dh) / 2)
    lm, cm = (l1 + l2) / 2, (c1 + c2) / 2
    if not c1 * c2:
        hm = h1 + h2
    elif abs(h1 - h2) <= 180:
        hm = (h1 + h2) / 2
    else:
        hm = (h1 + h2 + 360) / 2 if h1 + h2 < 360 else (h1 + h2 - 360) / 2
    cos: Callable[[float], float] = lambda degrees: math.cos(math.radians(degrees))  # noqa: E731
    t = 1 - 0.17 * cos(hm - 30) + 0.24 * cos(2 * hm) + 0.32 * cos(3 * hm + 6) - 0.20 * cos(4 * hm - 63)
    sl = 1 + 0.015 * (lm - 50) ** 2 / math.sqrt(20 + (lm - 50) ** 2)
    sc, sh = 1 + 0.045 * cm, 1 + 0.015 * cm * t
    turn = 30 * math.exp(-(((hm - 275) / 25) ** 2))
    rt = -2 * math.sqrt(cm**7 / (cm**7 + 25**7)) * math.sin(math.radians(2 * turn))
    return math.sqrt((dl / sl) ** 2 + (dc / sc) ** 2 + (dh_ / sh) ** 2 + rt * (dc / sc) * (dh_ / sh))


def _lab(value: Triple) -> Triple:
    white = xyz((1.0, 1.0, 1.0), "bt709")
    x, y, z = (
        ratio ** (1 / 3) if ratio > 216 / 24389 else (24389 / 27 * ratio + 16) / 116
        for ratio in (part / whole for part, whole in zip(value, white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def tone_mapped(light: Triple) -> Triple:
    """XYZ that SDR shows for linear BT.2020 light: BT.2087's matrix, BT.2390's EETF on the greatest of R, G and B."""
    to_709 = _invert(to_xyz("bt709"))
    rgb = _times(to_709, xyz(light, "bt2020"))
    rgb = (max(rgb[0], 0.0), max(rgb[1], 0.0), max(rgb[2], 0.0))
    brightest = max(rgb)
    gain = _eetf(brightest * 203) / (brightest * 203) if brightest else 0.0
    return xyz((rgb[0] * gain, rgb[1] * gain, rgb[2] * gain), "bt709")


def _eetf(nits: float, peak: float = 1000, white: float = 203) -> float:
    """BT.2390-11, 5.4.1, for a black of 0."""
    e1, top = min(pq(nits) / pq(peak), 1.0), pq(white) / pq(peak)
    ks = 1.5 * top - 0.5
    t = (e1 - ks) / (1 - ks)
    p = (2 * t**3 - 3 * t**2 + 1) * ks + (t**3 - 2 * t**2 + t) * (1 - ks) + (-2 * t**3 + 3 * t**2) * top
    return pq_nits((e1 if e1 < ks else p) * pq(peak))


def worst_of(truth: Sequence[Triple]) -> Measure:
    """A measure: the greatest CIEDE2000 of a patch of the output, read by what it tells, to its true XYZ."""

    def worst_patch_delta_e(made: Made) -> object:
        light = light_of(made.target, told(made.target))
        return round(max(delta_e(one, other) for one, other in zip(light, truth, strict=True)), 2)

    return worst_patch_delta_e


def signal(made: Made) -> object:
    """Pixel format, primaries, transfer, matrix and range that the output tells."""
    stream = film(made)
    names = ("pix_fmt", "color_primaries", "color_transfer", "color_space", "color_range")
    return " ".join(str(stream.get(name, "none")) for name in names)
