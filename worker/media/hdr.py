"""The metadata of HDR, read from the side data that ffprobe shows of a stream or a frame. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from worker.media.numbers import number_of

_MASTERING = (
    *("red_x", "red_y", "green_x", "green_y", "blue_x", "blue_y", "white_point_x", "white_point_y"),
    *("min_luminance", "max_luminance"),
)

_MOST_UNITS = 0xFFFF
_MOST_LUMINANCE = 0xFFFFFFFF


class DolbyVision(NamedTuple):
    """Dolby Vision's profile, and the compatibility of its base layer: 1 HDR10, 2 SDR, 4 HLG, 6 Blu-ray's HDR10."""

    profile: int
    compatibility: int

    @property
    def has_base(self) -> bool:
        """Whether the base layer shows right without Dolby's metadata."""
        return self.profile == 7 or (self.profile != 5 and self.compatibility != 0)


class HdrMetadata(NamedTuple):
    """Metadata of HDR.

    `mastering` has x and y of red, green, blue and white, and the least and greatest luminance in candela per square
    metre; `light` has MaxCLL and MaxFALL in the same unit. `is_dynamic` if there is metadata for each scene.
    """

    mastering: tuple[float, ...] | None = None
    light: tuple[int, int] | None = None
    dolby_vision: DolbyVision | None = None
    is_dynamic: bool = False

    @property
    def x265(self) -> dict[str, str]:
        """The parameters of x265 for HDR10: chromaticities in 1/50000, luminance in 1/10000 cd per square metre."""
        params = {}
        if self.mastering:
            rx, ry, gx, gy, bx, by, wx, wy = (min(round(value * 50_000), _MOST_UNITS) for value in self.mastering[:8])
            least, most = (min(round(value * 10_000), _MOST_LUMINANCE) for value in self.mastering[8:])
            params["master-display"] = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
        if self.light:
            params["max-cll"] = "{},{}".format(*(min(value, _MOST_UNITS) for value in self.light))
        return params

    @property
    def svtav1(self) -> dict[str, str]:
        """The parameters of SVT-AV1 for HDR10."""
        params = {}
        if self.mastering:
            rx, ry, gx, gy, bx, by, wx, wy = (f"{min(value, 1.0):.5f}" for value in self.mastering[:8])
            least, most = (f"{min(value, _MOST_LUMINANCE / 10_000):.4f}" for value in self.mastering[8:])
            params["mastering-display"] = f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
        if self.light:
            params["content-light"] = "{},{}".format(*(min(value, _MOST_UNITS) for value in self.light))
        return params

    def joined(self, other: "HdrMetadata") -> "HdrMetadata":
        """This metadata, and the other's where this has none."""
        return HdrMetadata(
            self.mastering or other.mastering,
            self.light or other.light,
            self.dolby_vision or other.dolby_vision,
            self.is_dynamic or other.is_dynamic,
        )


def hdr_metadata(side_data: Iterable[Mapping[str, Any]]) -> HdrMetadata:
    """The metadata in ffprobe's list of side data."""
    metadata = HdrMetadata()
    for data in side_data:
        kind = str(data.get("side_data_type"))
        if kind == "Mastering display metadata":
            values = tuple(map(_fraction, map(data.get, _MASTERING)))
            metadata = metadata._replace(mastering=values if any(values) else None)
        elif kind == "Content light level metadata":
            light = _whole(data.get("max_content")), _whole(data.get("max_average"))
            metadata = metadata._replace(light=light if any(light) else None)
        elif kind == "DOVI configuration record":
            dolby = DolbyVision(_whole(data.get("dv_profile")), _whole(data.get("dv_bl_signal_compatibility_id")))
            metadata = metadata._replace(dolby_vision=dolby, is_dynamic=True)
        elif kind == "Dolby Vision Metadata" and number_of(data.get("vdr_rpu_profile")) == 0:
            dolby = metadata.dolby_vision or DolbyVision(5, 0)
            metadata = metadata._replace(dolby_vision=dolby, is_dynamic=True)
        elif kind.startswith(("HDR Dynamic Metadata", "HDR10+", "Dolby Vision")):
            metadata = metadata._replace(is_dynamic=True)
    return metadata


def _whole(value: object) -> int:
    number = number_of(value)
    return round(number) if number and 0 < number < 2**31 else 0


def _fraction(value: object) -> float:
    """The value of a text such as `34000/50000`, rounded to what HEVC stores; 0 where unknown."""
    above, _, below = str(value).partition("/")
    numerator, denominator = number_of(above), number_of(below or "1")
    return round(numerator / denominator, 5) if numerator and denominator else 0.0
