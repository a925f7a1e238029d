"""The MPD of DASH, `manifest.mpd`, of the on-demand profile."""

from collections.abc import Sequence
from fractions import Fraction
from uuid import UUID
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from worker.packaging.groups import unique_names
from worker.packaging.rendition import Rendition
from worker.packaging.segments import Segment, average, peak, target
from worker.packaging.tracks import UNKNOWN_LANGUAGE, Encrypted, Thumbnails

_ON_DEMAND = "urn:mpeg:dash:profile:isoff-on-demand:2011"
_ROLE = "urn:mpeg:dash:role:2011"
_PROTECTION = "urn:mpeg:dash:mp4protection:2011"
_CLEAR_KEY = "urn:uuid:e2719d58-a985-b3c9-781a-b030af78d30e"
_CHANNELS = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
_COLOUR = ("ColourPrimaries", "TransferCharacteristics", "MatrixCoefficients")
_TRICK_MODE = "http://dashif.org/guidelines/trickmode"
_TILES = "http://dashif.org/guidelines/thumbnail_tile"
_SPEED = 16
"""The fastest that players play key frames at."""
BUFFER_SECONDS = 2
_ORDER = (
    "AudioChannelConfiguration",
    "ContentProtection",
    "EssentialProperty",
    "SupplementalProperty",
    "Label",
    "Role",
)
_CONFIGURATIONS = {8: 12}
"""Channels → code point of ISO/IEC 23091-3; to 6 channels they are the same."""


def mpd(
    renditions: Sequence[Rendition],
    version: str,
    seconds: Fraction,
    encryption: Encrypted | None,
    images: tuple[Thumbnails, list[Segment], list[str]] | None,
) -> bytes:
    """The MPD of tracks below the folder `version`; the film lasts `seconds`."""
    root = Element(
        "MPD",
        {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "xmlns:cenc": "urn:mpeg:cenc:2013",
            "profiles": _ON_DEMAND,
            "type": "static",
            "minBufferTime": f"PT{BUFFER_SECONDS}S",
            "mediaPresentationDuration": f"PT{float(seconds):.6f}S",
        },
    )
    period = SubElement(root, "Period", {"id": "0", "start": "PT0S"})
    sets: dict[tuple[str, str], Element] = {}
    for kind in ("video", "trick"):
        for family, members in _families(renditions, kind).items():
            adaptation = _videos(period, members, version, encryption)
            if kind == "video":
                sets[family] = adaptation
            else:
                _describe(adaptation, "EssentialProperty", _TRICK_MODE, (sets.get(family) or period[0]).get("id", "0"))
    _sounds(period, [one for one in renditions if one.track.kind == "audio"], version, encryption)
    _texts(period, [one for one in renditions if one.track.kind == "text"], version)
    if images:
        _images(period, *images, version)
    for adaptation in period:
        adaptation[:] = sorted(adaptation, key=_rank)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _rank(element: Element) -> int:
    """The place of an element in an AdaptationSet: the schema fixes the order."""
    return _ORDER.index(element.tag) if element.tag in _ORDER else len(_ORDER)


def _families(renditions: Sequence[Rendition], kind: str) -> dict[tuple[str, str], list[Rendition]]:
    families: dict[tuple[str, str], list[Rendition]] = {}
    for one in renditions:
        if one.track.kind == kind:
            families.setdefault(one.family, []).append(one)
    return families


def _videos(period: Element, members: Sequence[Rendition], version: str, encryption: Encrypted | None) -> Element:
    """The AdaptationSet of videos that a player can switch between: of one codec and one range."""
    facts = [one.facts for one in members if one.facts]
    width, height = max((fact.width, fact.height) for fact in facts)
    shape = Fraction(width * facts[0].aspect[0], height * facts[0].aspect[1]).limit_denominator(100)
    adaptation = _set(
        period,
        "video",
        par=f"{shape.numerator}:{shape.denominator}",
        maxWidth=str(width),
        maxHeight=str(max(fact.height for fact in facts)),
        maxFrameRate=_rate(max(one.rate for one in members)),
    )
    if members[0].track.kind == "video":
        _describe(adaptation, "Role", _ROLE, "main")
    _protect(adaptation, encryption)
    if members[0].family[1] != "SDR":
        for name, value in zip(_COLOUR, facts[0].colour, strict=True):
            _describe(adaptation, "SupplementalProperty", f"urn:mpeg:mpegB:cicp:{name}", str(value))
    for one, fact in zip(members, facts, strict=True):
        element = _representation(
            adaptation,
            one,
            version,
            width=str(fact.width),
            height=str(fact.height),
            sar=f"{fact.aspect[0]}:{fact.aspect[1]}",
            frameRate=_rate(one.rate),
        )
        if one.track.kind == "trick":
            element.set("codingDependency", "false")
            element.set("maxPlayoutRate", str(_SPEED))
    return adaptation


def _rate(rate: Fraction) -> str:
    close = rate.limit_denominator(1001)
    return f"{close.numerator}/{close.denominator}" if close.denominator > 1 else str(close.numerator)


def _sounds(period: Element, sounds: Sequence[Rendition], version: str, encryption: Encrypted | None) -> None:
    main = next((one for one in sounds if one.track.is_default), sounds[0] if sounds else None)
    for one in sounds:
        adaptation = _set(period, "audio", lang=one.track.language)
        if one.facts:
            channels = one.facts.channels or one.track.channels
            _describe(adaptation, "AudioChannelConfiguration", _CHANNELS, str(_CONFIGURATIONS.get(channels, channels)))
        _protect(adaptation, encryption)
        if one.track.label:
            SubElement(adaptation, "Label").text = one.track.label
        is_main = main and (one.track.language, one.track.label) == (main.track.language, main.track.label)
        _describe(adaptation, "Role", _ROLE, "main" if is_main else "alternate")
        rate = {"audioSamplingRate": str(one.facts.sample_rate)} if one.facts else {}
        _representation(adaptation, one, version, **rate)


def _texts(period: Element, texts: Sequence[Rendition], version: str) -> None:
    names = unique_names([one.track for one in texts], "Subtitles")
    for one, name in zip(texts, names, strict=True):
        track = one.track
        adaptation = SubElement(
            period, "AdaptationSet", {"id": str(len(period)), "contentType": "text", "mimeType": "text/vtt"}
        )
        adaptation.set("lang", track.language)
        if name != UNKNOWN_LANGUAGE:
            SubElement(adaptation, "Label").text = name
        role = "forced-subtitle" if track.is_forced else "caption" if track.is_sdh else "subtitle"
        _describe(adaptation, "Role", _ROLE, role)
        if track.is_default:
            _describe(adaptation, "Role", _ROLE, "main")
        element = SubElement(adaptation, "Representation", {"id": track.name, "bandwidth": str(one.peak)})
        SubElement(element, "BaseURL").text = f"{version}/{one.file}"


def _images(period: Element, thumbnails: Thumbnails, shown: list[Segment], names: list[str], version: str) -> None:
    """The sprites. Their names are numbered from 1."""
    adaptation = _set(period, "image", mimeType="image/jpeg")
    adaptation.attrib.pop("subsegmentStartsWithSAP")
    adaptation.attrib.pop("subsegmentAlignment")
    each = Fraction(thumbnails.seconds) * thumbnails.columns * thumbnails.rows
    SubElement(
        adaptation,
        "SegmentTemplate",
        {
            "media": f"{version}/{names[0].replace('1', '$Number$')}",
            "timescale": "1000",
            "duration": str(round(each * 1000)),
            "startNumber": "1",
        },
    )
    element = SubElement(
        adaptation,
        "Representation",
        {
            "id": "sprites",
            "bandwidth": str(peak(shown, target(shown)) or average(shown)),
            "width": str(thumbnails.width * thumbnails.columns),
            "height": str(thumbnails.height * thumbnails.rows),
        },
    )
    _describe(element, "EssentialProperty", _TILES, f"{thumbnails.columns}x{thumbnails.rows}")


def _set(period: Element, kind: str, **attributes: str) -> Element:
    """An AdaptationSet, whose id is its place in the period."""
    aligned = {"subsegmentAlignment": "true", "subsegmentStartsWithSAP": "1"}
    return SubElement(period, "AdaptationSet", {"id": str(len(period)), "contentType": kind} | attributes | aligned)


def _representation(adaptation: Element, one: Rendition, version: str, **attributes: str) -> Element:
    element = SubElement(
        adaptation,
        "Representation",
        {"id": one.track.name, "bandwidth": str(max(one.peak, one.channel)), "codecs": one.codecs}
        | {"mimeType": f"{adaptation.get('contentType')}/mp4", "startWithSAP": "1"}
        | attributes,
    )
    SubElement(element, "BaseURL").text = f"{version}/{one.file}"
    first, end = one.sidx
    base = SubElement(element, "SegmentBase", {"indexRange": f"{first}-{end - 1}", "timescale": str(one.timescale)})
    SubElement(base, "Initialization", {"range": f"0-{one.init - 1}"})
    return element


def _describe(parent: Element, tag: str, scheme: str, value: str) -> None:
    SubElement(parent, tag, {"schemeIdUri": scheme, "value": value})


def _protect(adaptation: Element, encryption: Encrypted | None) -> None:
    """The encryption and the id of the key; a player gets the key itself from its page, as Clear Key."""
    if not encryption:
        return
    protection = {"schemeIdUri": _PROTECTION, "value": "cbcs", "cenc:default_KID": str(UUID(bytes=encryption.key_id))}
    SubElement(adaptation, "ContentProtection", protection)
    SubElement(adaptation, "ContentProtection", {"schemeIdUri": _CLEAR_KEY, "value": "ClearKey1.0"})
