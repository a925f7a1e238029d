"""Rules between the fields of a profile, which no schema expresses.

They read the words of a request, whose fields may have faults of their own: a rule that needs such a field is silent.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from elasticrecode.errors import Fault
from elasticrecode.media import profiles
from elasticrecode.media.codecs import AUDIO_OUTSIDE, CODECS, Codec, container, encoder_of
from elasticrecode.media.formats import FORMATS
from elasticrecode.media.generations import field_beyond_first, is_first_rate
from elasticrecode.media.profiles import BITRATE_MBITS, SOURCE, bits

Fields = Mapping[str, Any]

_OPUS_BITS = 256_000
"""Bits per second that libopus takes for each channel."""
_CHANNELS = {"mono": 1, "stereo": 2}


def faults(profile: Fields, inputs: Iterable[tuple[str, object]] = ()) -> Iterator[Fault]:
    """Faults of a profile, with pointers from its request; `inputs` are pointers with URIs or names of files."""
    parts = RequestProfile.of(profile)
    yield from _score_faults(parts)
    yield from _audio_faults(parts)
    yield from _subtitle_faults(parts)
    if "ffmpeg" in profile:
        yield from _platform_faults(parts)
        yield from _rate_faults(parts)
        yield from _picture_faults(parts)
        for pointer, uri in inputs:
            if isinstance(uri, str) and (fault := container_fault(profile, uri)):
                yield Fault(pointer, fault)
    if "package" in profile:
        yield from _package_faults(parts)
        yield from _encryption_faults(parts.package)
        yield from _early_faults(parts.package)
    if not {"ffmpeg", "package"} & profile.keys():
        yield from _faults_without_encode(parts)


class RequestProfile(NamedTuple):
    """The parts of a profile; a part that is missing or no object is empty."""

    present: frozenset[str]
    ffmpeg: Fields
    package: Fields
    audio: Fields
    subtitles: Fields
    vmaf: Fields
    ec2: Fields

    @classmethod
    def of(cls, profile: Fields) -> "RequestProfile":
        """The parts of the profile in a request."""
        names = cls._fields[1:]
        return cls(frozenset(profile), *(part if isinstance(part := profile.get(n), dict) else {} for n in names))

    @property
    def platform(self) -> object:
        """The platform that the profile names, else cpu."""
        return self.ffmpeg.get("platform", self.ec2.get("platform") or "cpu")


def container_fault(profile: Fields, uri: str) -> str:
    """Why the output of an input cannot hold the sound of a profile; empty where it can."""
    parts = RequestProfile.of(profile)
    codec, audio = parts.ffmpeg.get("codec"), parts.audio.get("codec")
    refused = AUDIO_OUTSIDE.get(audio, ()) if isinstance(audio, str) and parts.ffmpeg else ()
    muxer = container(uri, codec if isinstance(codec, str) else "") if refused else None
    if muxer not in refused:
        return ""
    return f"its output keeps its extension, and {muxer} holds no {audio}: choose aac, or name it .mp4 or .mkv"


def _score_faults(parts: RequestProfile) -> Iterator[Fault]:
    vmaf = parts.vmaf
    if "onFail" in vmaf and "min" not in vmaf:
        yield Fault("/profile/vmaf/min", "is required beside onFail")
    if vmaf.get("ms-ssim") == "enable" and not profiles.fits_ms_ssim(vmaf.get("scale")):
        yield Fault(
            "/profile/vmaf/ms-ssim", f"needs a scale of at least {profiles.MS_SSIM_SIDE}x{profiles.MS_SSIM_SIDE}"
        )
    if profiles.finds_banding(vmaf.get("model")) and not profiles.fits_banding(vmaf.get("scale")):
        yield Fault("/profile/vmaf/model", f"needs a scale with a side of at least {profiles.BANDING_SIDE}")


def _faults_without_encode(parts: RequestProfile) -> Iterator[Fault]:
    """Faults of a profile without `ffmpeg` and `package`: a score alone, or sound alone."""
    for name in sorted({"subtitles", "images", "split"} & parts.present):
        yield Fault(f"/profile/{name}", "needs ffmpeg or package beside it")
    if "audio" not in parts.present:
        return
    if "vmaf" in parts.present:
        yield Fault("/profile/audio", "needs ffmpeg beside it: a score alone has no sound")
        return
    codec, tracks = parts.audio.get("codec"), parts.audio.get("tracks")
    if codec in ("copy", "none"):
        yield Fault("/profile/audio/codec", f"must be aac or opus where there is no ffmpeg, not {codec}")
    if codec == "opus" and (tracks == "all" or (isinstance(tracks, list) and len(tracks) > 1)):
        yield Fault("/profile/audio/tracks", "must be first or one language: a file of Opus alone holds one track")


def _platform_faults(parts: RequestProfile) -> Iterator[Fault]:
    """Two different platforms, and encoders that the platform lacks."""
    requested, of_ec2, word = parts.platform, parts.ec2.get("platform"), parts.ffmpeg.get("codec")
    if of_ec2 not in (None, requested):
        yield Fault("/profile/ec2/platform", f"must agree with /profile/ffmpeg/platform, which is {requested}")
    for name, codec in CODECS.items():
        for platform, encoder in codec.encoders.items():
            if word == encoder.name and requested != platform:
                detail = f"{encoder.name} runs on {platform}, and the platform is {requested}: use {name} instead"
                yield Fault("/profile/ffmpeg/codec", detail)
        if word == name and requested == "gpu" and "gpu" not in codec.encoders:
            yield Fault("/profile/ffmpeg/codec", f"{name} is encoded on cpu, and the platform is gpu")


def _rate_faults(parts: RequestProfile) -> Iterator[Fault]:
    """Neither or both of bitrate and quality, and values that go with only one of them."""
    encode = parts.ffmpeg
    if not encode:
        return
    if "quality" not in encode and "bitrate" not in encode:
        yield Fault("/profile/ffmpeg/bitrate", "is required, or quality in its place")
    if "quality" in encode and "bitrate" in encode:
        yield Fault("/profile/ffmpeg/bitrate", "must not be given beside quality: maxBitrate is the cap of a quality")
    if "quality" not in encode and "maxBitrate" in encode:
        yield Fault("/profile/ffmpeg/maxBitrate", "goes with quality: a bitrate is its own cap")
    if "quality" in encode and "buffersize" in encode and "maxBitrate" not in encode:
        yield Fault("/profile/ffmpeg/buffersize", "needs maxBitrate beside quality")
    given = encode.get("bitrate")
    if isinstance(given, str) and FORMATS["bitrate"][0](given) and not is_first_rate(given):
        known = not field_beyond_first(encode) and not parts.present & {
            "package",
            "audio",
            "subtitles",
            "images",
            "split",
        }
        if known:
            detail = f"must be from {{}}M to {{}}M, not {given}, without a field of the second generation such as fit"
            yield Fault("/profile/ffmpeg/bitrate", detail.format(*BITRATE_MBITS))
    codec, crf = _codec(encode.get("codec")), _number(encode.get("quality"), "crf")
    limit = max(encoder.max_crf for encoder in codec.encoders.values()) if codec else profiles.CRF_LIMIT
    if crf is not None and limit < crf <= profiles.CRF_LIMIT:
        yield Fault("/profile/ffmpeg/quality/crf", f"must be at most {limit} for {encode['codec']}, not {crf:g}")
    if crf == 0 and parts.platform == "gpu":
        yield Fault("/profile/ffmpeg/quality/crf", "must be more than 0 on gpu, where 0 leaves the rate to the encoder")
    yield from _target_faults(parts)


def _target_faults(parts: RequestProfile) -> Iterator[Fault]:
    """Neither or both of a CRF and a VMAF, and values that go with a VMAF alone."""
    target = parts.ffmpeg.get("quality")
    if not isinstance(target, Mapping):
        return
    place = "/profile/ffmpeg/quality"
    if ("crf" in target) == ("vmaf" in target):
        yield Fault(place, "must have either crf or vmaf")
    for field in ("model", "tolerance", "floor"):
        if field in target and "vmaf" not in target:
            yield Fault(f"{place}/{field}", "goes with vmaf")
    if "vmaf" in target and parts.platform == "gpu":
        yield Fault(f"{place}/vmaf", "must not be given on gpu: use crf there, or cpu")
    wanted, floor = _number(target, "vmaf"), _number(target, "floor")
    if wanted is not None and floor is not None and floor > wanted:
        yield Fault(f"{place}/floor", f"must be at most the target, {wanted:g}, not {floor:g}")
    if "model" in target and "vmaf" in parts.present and target["model"] != parts.vmaf.get("model", target["model"]):
        yield Fault(f"{place}/model", "must agree with /profile/vmaf/model: a job is scored by one model")


def _picture_faults(parts: RequestProfile) -> Iterator[Fault]:
    """Values of the picture that contradict each other."""
    encode = parts.ffmpeg
    codec = _codec(encode.get("codec"))
    start, end = _number(encode, "start"), _number(encode, "end")
    if start is not None and end is not None and end <= start:
        yield Fault("/profile/ffmpeg/end", f"must be after start, {start:g}, not {end:g}")
    depth = encode.get("bitDepth")
    if codec and depth == 10 and depth not in codec.depths:
        detail = f"must be 8 for {encode['codec']}, as few players decode it with 10 bits: use h265 or av1 for 10"
        yield Fault("/profile/ffmpeg/bitDepth", detail)
    if encode.get("dynamicRange") == "keep":
        if codec and 10 not in codec.depths:
            detail = f"must be auto or sdr for {encode['codec']}, which cannot carry HDR: use h265 or av1 to keep it"
            yield Fault("/profile/ffmpeg/dynamicRange", detail)
        elif depth == 8:
            yield Fault("/profile/ffmpeg/dynamicRange", "must be auto or sdr beside a bitDepth of 8: HDR needs 10 bits")
    if encode.get("scale") == SOURCE and encode.get("fit") in ("pad", "crop", "exact"):
        yield Fault("/profile/ffmpeg/fit", f"has no box to fill: the scale is {SOURCE}")


def key_faults(profile: Fields) -> Iterator[Fault]:
    """Faults of a profile that is stored as it is, in a preset or a drop: it must not hold a key."""
    package = profile.get("package")
    encryption = package.get("encryption") if isinstance(package, dict) else None
    if isinstance(encryption, dict) and "key" in encryption:
        yield Fault(f"{_ENCRYPTION}/key", "must not be stored: name a secret in secretId instead")


_ENCRYPTION = "/profile/package/encryption"


def _package_faults(parts: RequestProfile) -> Iterator[Fault]:
    package = parts.package
    if parts.platform == "gpu":
        place = "ffmpeg" if "platform" in parts.ffmpeg else "ec2"
        yield Fault(f"/profile/{place}/platform", "must be cpu beside package, whose rungs are encoded on cpu")
    if parts.audio.get("codec") == "copy":
        yield Fault(
            "/profile/audio/codec", "must be aac, opus or none beside package, whose segments need their own cuts"
        )
    formats, ladder = package.get("formats"), package.get("ladder", "h264")
    if parts.audio.get("codec") == "opus" and formats != ["dash"]:
        detail = 'must be aac beside package, unless its formats are ["dash"]: players of HLS need aac'
        yield Fault("/profile/audio/codec", detail)
    if isinstance(formats, list) and len(formats) == 2 and formats[0] == formats[1]:
        yield Fault("/profile/package/formats/1", f"repeats {formats[0]}")
    yield from _auto_faults(package)
    rungs = ladder[: profiles.RUNGS_LIMIT] if isinstance(ladder, list) else ()
    seen: dict[str, int] = {}
    for n, rung in enumerate(rungs):
        if not isinstance(rung, dict):
            continue
        same = repr((rung.get("codec", "h264"), rung.get("scale"), rung.get("bitrate"), rung.get("frameRate", SOURCE)))
        first = seen.setdefault(same, n)
        if first != n:
            yield Fault(f"/profile/package/ladder/{n}", f"repeats /profile/package/ladder/{first}")
        average, cap = rung.get("bitrate"), rung.get("maxBitrate")
        if _rate(average) and _rate(cap) and _rate(cap) < _rate(average):
            yield Fault(
                f"/profile/package/ladder/{n}/maxBitrate", f"must be at least the bitrate, {average}, not {cap}"
            )
    auto = package.get("auto")
    word = (auto.get("codec", "h264") if isinstance(auto, dict) else "h264") if ladder == "auto" else ladder
    codecs = [rung.get("codec", "h264") for rung in rungs if isinstance(rung, dict)] if rungs else [word]
    if package.get("dynamicRange") == "keep" and "h264" in codecs:
        detail = "must be auto or sdr for a ladder with h264, which cannot carry HDR: use h265 or av1 to keep it"
        yield Fault("/profile/package/dynamicRange", detail)


def _auto_faults(package: Fields) -> Iterator[Fault]:
    """Faults of the bounds of the ladder that a worker finds."""
    if "auto" not in package:
        return
    if package.get("ladder", "h264") != "auto":
        yield Fault("/profile/package/auto", "needs the ladder auto beside it")
    bounds = package["auto"] if isinstance(package["auto"], dict) else {}
    bottom, most = bounds.get("bottomBitrate"), bounds.get("maxBitrate")
    if _rate(bottom) and _rate(most) and _rate(most) < _rate(bottom):
        detail = f"must be at least the bottomBitrate, {bottom}, not {most}"
        yield Fault("/profile/package/auto/maxBitrate", detail)


def _early_faults(package: Fields) -> Iterator[Fault]:
    """Faults of a package that is to play before it is whole."""
    if package.get("early") is not True:
        return
    if "encryption" in package:
        detail = "must not be true beside encryption: what plays early is not encrypted"
        yield Fault("/profile/package/early", detail)
    formats = package.get("formats", ["hls"])
    if isinstance(formats, list) and "hls" not in formats:
        yield Fault("/profile/package/early", "must not be true without hls among the formats: it plays over HLS alone")


def _encryption_faults(package: Fields) -> Iterator[Fault]:
    encryption = package.get("encryption")
    if not isinstance(encryption, dict):
        return
    formats = package.get("formats", ["hls", "dash"])
    if encryption.get("scheme") == "aes-128" and isinstance(formats, list) and "dash" in formats:
        yield Fault(f"{_ENCRYPTION}/scheme", "must be cbcs for dash, which has no aes-128: ask for hls alone, or cbcs")
    given = {"key", "secretId"} & encryption.keys()
    if len(given) != 1:
        detail = "must not be given beside key" if given else "is required, or key in its place"
        yield Fault(f"{_ENCRYPTION}/secretId", detail)
    key = encryption.get("key")
    if isinstance(key, str) and FORMATS["key"][0](key):
        for name in ("keyId", "keyUri"):
            if key.lower() in str(encryption.get(name, "")).lower():
                yield Fault(f"{_ENCRYPTION}/{name}", "must not hold the key: records and packages show it to everybody")
    if "sealedKey" in encryption:
        yield Fault(f"{_ENCRYPTION}/sealedKey", "is not for requests: it is what becomes of key")


def _rate(value: object) -> int:
    """The bits per second of a rate; 0 for anything else."""
    return bits(value) if isinstance(value, str) and FORMATS["cap"][0](value) else 0


def _audio_faults(parts: RequestProfile) -> Iterator[Fault]:
    audio = parts.audio
    codec, rate = audio.get("codec"), audio.get("bitrate")
    if codec == "none":
        for name in sorted({"bitrate", "channels", "loudness", "tracks"} & audio.keys()):
            yield Fault(f"/profile/audio/{name}", "must not be given beside codec none, which leaves sound out")
    if codec == "copy":
        for name in sorted({"bitrate", "channels", "loudness"} & audio.keys()):
            if audio[name] != SOURCE:
                yield Fault(f"/profile/audio/{name}", "must not be given beside codec copy, which changes nothing")
    channels = _CHANNELS.get(str(audio.get("channels")))
    if codec == "opus" and channels and isinstance(rate, str) and FORMATS["audio-bitrate"][0](rate):
        limit = _OPUS_BITS * channels
        if bits(rate) > limit:
            detail = f"must be at most {profiles.rate(limit)} for {audio['channels']} in opus, not {rate}"
            yield Fault("/profile/audio/bitrate", detail)
    yield from _repeated("audio", audio)


def _subtitle_faults(parts: RequestProfile) -> Iterator[Fault]:
    yield from _repeated("subtitles", parts.subtitles)


def _repeated(part: str, fields: Fields) -> Iterator[Fault]:
    """Languages that a list names more than once, in any case."""
    tracks = fields.get("tracks")
    seen: dict[str, int] = {}
    for n, language in enumerate(tracks[: profiles.LANGUAGES_LIMIT] if isinstance(tracks, list) else ()):
        first = seen.setdefault(language.lower(), n) if isinstance(language, str) else n
        if first != n:
            yield Fault(f"/profile/{part}/tracks/{n}", f"repeats /profile/{part}/tracks/{first}, {language:.40}")


def _codec(word: object) -> Codec | None:
    """The codec of a request's word or of an encoder's name; None for anything else."""
    if not isinstance(word, str):
        return None
    try:
        return CODECS.get(word) or encoder_of(word)[0]
    except KeyError:
        return None


def _number(fields: object, name: str) -> float | None:
    value = fields.get(name) if isinstance(fields, Mapping) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
