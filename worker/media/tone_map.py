"""The 3D LUT that maps BT.2100 signals, PQ or HLG, to BT.709. Pure; docs/decisions/tone-mapping.md has the reasons."""

import math
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

Curve = Literal["smpte2084", "arib-std-b67"]

NODES = 33
"""Nodes of the LUT on each axis."""
SOURCE_PEAK = 1000.0
"""Candela per square metre of the brightest picture that keeps its detail; brighter ones are clipped to it."""
REFERENCE_WHITE = 203.0
"""Candela per square metre of HDR reference white by BT.2408, which is the peak of SDR."""
_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_LUMA_2020 = (0.2627, 0.6780, 0.0593)
_TO_709 = ((1.660491, -0.587641, -0.072850), (-0.124550, 1.132900, -0.008349), (-0.018151, -0.100579, 1.118730))
"""Linear BT.2020 to linear BT.709, by BT.2087 inverted."""
_BT1886 = 2.4


class Light(NamedTuple):
    """Linear light of a pixel."""

    red: float
    green: float
    blue: float


@cache
def cube(curve: Curve) -> str:
    """The LUT for full-range R'G'B' of BT.2020 primaries with this curve, as the text of a `.cube` file.

    Takes about 0.3 s the first time. The result is full-range R'G'B' of BT.709, for a display of gamma 2.4.
    """
    rows = (f"{red:.5f} {green:.5f} {blue:.5f}" for red, green, blue in _entries(curve))
    return "\n".join((f"LUT_3D_SIZE {NODES}", *rows)) + "\n"


def _entries(curve: Curve) -> Iterator[Light]:
    axis = [node / (NODES - 1) for node in range(NODES)]
    linear = [_pq_light(value) if curve == "smpte2084" else _hlg_scene(value) for value in axis]
    for blue in linear:
        for green in linear:
            for red in linear:
                light = Light(red, green, blue)
                yield _sdr(light if curve == "smpte2084" else _hlg_display(light))


def _sdr(light: Light) -> Light:
    """The BT.709 signal for light in candela per square metre: gamut first, then brightness, hue kept by both."""
    kept = [max(0.0, sum(map(float.__mul__, row, light))) for row in _TO_709]
    peak = max(kept)
    gain = _compressed(peak) / peak if peak else 0.0
    return Light(*((value * gain / REFERENCE_WHITE) ** (1 / _BT1886) for value in kept))


@cache
def _knee() -> tuple[float, float, float]:
    """The ends of the curve of BT.2390 in PQ: the source's peak, and relative to it SDR's peak and the knee."""
    peak = _pq_signal(SOURCE_PEAK)
    highest = _pq_signal(REFERENCE_WHITE) / peak
    return peak, highest, 1.5 * highest - 0.5


def _compressed(light: float) -> float:
    """Brightness as BT.2390's EETF compresses it, up to REFERENCE_WHITE; both in candela per square metre."""
    peak, highest, knee = _knee()
    signal = min(1.0, _pq_signal(light) / peak)
    if signal <= knee:
        return light
    t = (signal - knee) / (1 - knee)
    squared, cubed = t * t, t * t * t
    value = (
        (2 * cubed - 3 * squared + 1) * knee
        + (cubed - 2 * squared + t) * (1 - knee)
        + (-2 * cubed + 3 * squared) * highest
    )
    return min(REFERENCE_WHITE, _pq_light(value * peak))


def _pq_light(signal: float) -> float:
    """The EOTF of SMPTE ST 2084, in candela per square metre."""
    power = signal ** (1 / _M2)
    return float(10_000 * (max(power - _C1, 0.0) / (_C2 - _C3 * power)) ** (1 / _M1))


def _pq_signal(light: float) -> float:
    power = (light / 10_000) ** _M1
    return float(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def _hlg_scene(signal: float) -> float:
    """The inverse OETF of HLG: scene light from 0 to 1."""
    return signal * signal / 3 if signal <= 0.5 else (math.exp((signal - _HLG_C) / _HLG_A) + _HLG_B) / 12


def _hlg_display(scene: Light) -> Light:
    """The OOTF of HLG for a display of SOURCE_PEAK."""
    luminance = sum(map(float.__mul__, _LUMA_2020, scene))
    gain = SOURCE_PEAK * luminance ** (_HLG_GAMMA - 1) if luminance else 0.0
    return Light(*(gain * value for value in scene))
