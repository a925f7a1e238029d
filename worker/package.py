"""The package of a job: from a source in the job's folder to the files that HLS and DASH players read.

inspect → rungs → encode rungs (here, or as parts) → encode sounds → package
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import structs

from elasticrecode.jobs import uris
from elasticrecode.jobs.events import Notice, Output, Progress, Quality, Role
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import SCORE_FILES, package_folder
from elasticrecode.media import ladders
from elasticrecode.media.codecs import CODECS, encoder_of
from elasticrecode.media.profiles import SOURCE, Package, Vmaf, bits
from worker.certificate.evidence import Evidence, SoundLevel
from worker.holding import Encoded
from worker.media import images, languages, timing
from worker.media.encode import inspect
from worker.media.images import ImagePlan, Stills, plan_images
from worker.media.ladder import Ends, Ladder, constant_rate, plan_ladder
from worker.media.renditions import RungFigures, Sounds, common_length, encode_rungs, encode_sounds, find_ends
from worker.media.source import Source
from worker.media.subtitles import SideFile, SubtitlePlan, read_subtitles
from worker.packaging.findings import Rule
from worker.packaging.package import pack
from worker.packaging.tracks import Encrypted, Packaged, Thumbnails, Track
from worker.quality import ladder_report, results
from worker.quality.html_report import Moment
from worker.quality.ladder_report import RungScore
from worker.quality.score import Pair, at_size, measure
from worker.sandbox.runner import Runner
from worker.settings import Settings

Report = Callable[[Progress], None]
_ROLES: Mapping[str, Role] = {"video": "rendition", "audio": "audio", "text": "subtitles"}
_WORDS = {codec.stream: word for word, codec in CODECS.items()}
_NEAR_RATE = Fraction(1, 20)
"""How much more frames than it asks for a rung may have without a warning, as a share."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}


class PackageEncoder:
    """Encodes the rungs of one package on this worker, any of them at a time."""

    def __init__(
        self,
        job: Job,
        package: Package,
        source: Path,
        settings: Settings,
        runner: Runner,
        report: Report,
        sides: Sequence[SideFile] = (),
        *,
        with_images: bool = True,
        inspected: tuple[Source, Ends] | None = None,
    ) -> None:
        """Inspect the source and plan the ladder, `with_images` beside it. Raises JobError or Interrupted.

        Of a divided film, `source` is the rest, `inspected` are the film and the ends of its tracks, and the pictures
        come from its chunks.
        """
        self.job, self.source, self.settings, self.runner = job, source, settings, runner
        self.package, self.report = package, report
        probed = inspected[0] if inspected else inspect(source, settings, runner)
        video = probed.video
        encodes = ladders.rungs(package, *video.upright, constant_rate(video), is_hdr=video.hdr)
        self.texts = read_subtitles(source, probed, job.profile, encodes[0], settings.ffmpeg, runner, sides)
        ends = inspected[1] if inspected else find_ends(source, probed, settings, runner)
        self.ladder = plan_ladder(probed, job.profile, encodes, self.texts, ends)
        self.seconds = timing.length(video, encodes[0])
        size = self.ladder.rungs[0].picture.size
        self.pictures = plan_images(job.profile.images or None if with_images else None, size, self.seconds)
        self._undrawn = ImagePlan() if inspected else self.pictures
        self._heard: tuple[Fraction, Sounds | None] | None = None
        self.moments: tuple[Moment, ...] = ()
        """The worst frames of the largest rung, where this worker has scored it."""

    @property
    def names(self) -> list[str]:
        """The name of each rung: codec, short side and bitrate, such as `h264-1080p-6000k`."""
        return names(self.ladder)

    def hear(self, length: Fraction, on_line: Callable[[str, float], None] = lambda *_: None) -> Sounds | None:
        """The sounds beside pictures of `length` seconds, which are encoded once.

        `on_line` takes what ffmpeg tells of its progress. Raises JobError or Interrupted.
        """
        if not self._heard or self._heard[0] != length:
            of = (self.ladder, self.job.profile, length, self.source, self.settings, self.runner)
            sounds = encode_sounds(*of, on_line)
            self._heard = length, sounds
        return self._heard[1]

    def draw(self) -> None:
        """Make the pictures beside the film, unless an encode did."""
        if self._undrawn.branches:
            self._encode((), self.report)

    def encode(self, numbers: Sequence[int]) -> dict[int, Encoded]:
        """Encode these rungs in one decode, and score them where the job wants that. Raises JobError or Interrupted."""
        scoring = self.job.profile.vmaf or None
        encoded = self._encode(numbers, self.report)
        results: dict[int, Encoded] = {}
        for number, (file, figures) in encoded.items():
            if scoring:
                figures = structs.replace(figures, quality=self._score(number, file, scoring))
            results[number] = Encoded((file,), msgspec.to_builtins(figures))
        return results

    def _encode(self, numbers: Sequence[int], report: Report) -> Mapping[int, tuple[Path, RungFigures]]:
        pictures, self._undrawn = self._undrawn, ImagePlan()
        return encode_rungs(self.ladder, numbers, pictures, self.source, self.settings, self.runner, report)

    def _score(self, number: int, file: Path, scoring: Vmaf) -> Quality:
        """The score of a rung at the size of the largest."""
        wanted = at_size(scoring, self.ladder.rungs[0].picture.size)
        uri = f"{self.job.output}{self.names[number]}.mp4"
        pair = Pair(self.source, file, self.job.input, uri, self.ladder.rungs[number])
        folder = file.parent
        measured = measure(pair, wanted, self.settings, self.runner, self.report, folder)
        self.moments = self.moments if number else tuple(measured.moments)
        return results.summarize(measured.scores, wanted, measured.warnings, measured.pairs)


def names(ladder: Ladder) -> list[str]:
    """The name of each rung: codec, HDR if it is, short side and bitrate, such as `h264-1080p-6000k`."""
    result = []
    for plan in ladder.rungs:
        encode, signal = plan.picture.encode, plan.picture.signal
        is_sdr = signal.dynamic_range == "sdr"
        words = [_WORDS[encoder_of(encode.codec)[0].stream], *([] if is_sdr else [signal.dynamic_range])]
        kbits = round(bits(encode.bitrate) / 1000) if encode.bitrate else 0
        result.append("-".join([*words, f"{min(plan.picture.size)}p", f"{kbits}k"]))
    return result


class PackageFiles(NamedTuple):
    """A finished package: its files with their outputs, further files with their URIs, and the largest rung's score."""

    files: list[tuple[Path, Output]]
    unlisted: list[tuple[Path, str]]
    folder: str
    quality: Quality | None
    notices: list[Notice]
    evidence: Evidence


def finish(
    encoder: PackageEncoder, results: Mapping[int, Encoded], encryption: Encrypted | None, version: str
) -> PackageFiles:
    """Encode the sounds, make the pictures, and package all tracks. `results` are those of all rungs.

    Raises JobError or Interrupted.
    """
    job, ladder, runner, settings, source = (
        encoder.job,
        encoder.ladder,
        encoder.runner,
        encoder.settings,
        encoder.source,
    )
    package = encoder.package
    figures = [msgspec.convert(dict(results[number].figures), RungFigures) for number in range(len(ladder.rungs))]
    length = common_length(figures, ladder)
    encoder.draw()
    size = ladder.rungs[0].picture.size
    stills = images.finish(encoder.pictures, size, float(length), source.parent, settings.ffmpeg, runner)
    sounds = encoder.hear(length)
    tracks = [
        *(Track(results[number].files[0], name, "video") for number, name in enumerate(names(ladder))),
        *_sound_tracks(sounds),
        *_text_tracks(encoder.texts, source.parent),
    ]
    packaged = pack(
        tracks,
        formats=package.formats,
        segment=ladder.segment_seconds(package.segmentSeconds),
        gop=ladder.gop_seconds,
        encryption=encryption,
        thumbnails=_thumbnails(stills),
        version=version,
        folder=source.parent,
        settings=settings,
        runner=runner,
    )
    base = job.output + package_folder(job.input)
    listed = _outputs(packaged, tracks, figures, sounds, base, version)
    files = [(path, listed[name]) for path, name in packaged.files if name in listed]
    unlisted = [(path, base + name) for path, name in packaged.files if name not in listed]
    files += images.published(stills, job.input, job.output, source.parent)
    files += _reports(encoder, figures, packaged, base, version)
    notices = [*_plan_notices(package, ladder), *encoder.texts.notices, *encoder.pictures.notices]
    notices += [notice for each in figures for notice in each.notices]
    notices += sounds.notices if sounds else []
    notices += packaged.notices
    quality = figures[0].quality or None
    evidence = _evidence(encoder, figures, sounds, packaged)
    return PackageFiles(files, unlisted, f"{base}{version}/", quality, list(dict.fromkeys(notices)), evidence)


def _evidence(
    encoder: PackageEncoder, rungs: Sequence[RungFigures], sounds: Sounds | None, packaged: Packaged
) -> Evidence:
    """What the package shows of itself, for the certificate."""
    levels = {each.track: each for each in (sounds.levels if sounds else ())}
    heard = []
    for number, track in enumerate((each for each in packaged.tracks if each.kind == "audio"), 1):
        output, peak = packaged.loudness.get(track.name, (None, None))
        level = levels.get(number)
        heard.append(SoundLevel(track.name, level and level.source, output, level and level.target, peak))
    named = list(zip(encoder.names, rungs, strict=True))
    return Evidence(
        source=encoder.ladder.source,
        rates=tuple(structs.replace(rung.rate, name=name) for name, rung in named if rung.rate),
        sounds=tuple(heard),
        rules=(
            *(
                Rule("picture-as-planned", passed=True, measured=f"{r.width}x{r.height} {r.codec}", where=n)
                for n, r in named
            ),
            *packaged.rules,
        ),
        moments=encoder.moments,
        steps=tuple(rung.step for rung in rungs if rung.step),
    )


def _reports(
    encoder: PackageEncoder, rungs: Sequence[RungFigures], packaged: Packaged, base: str, version: str
) -> list[tuple[Path, Output]]:
    """The reports of the scores of all rungs; those of a job that also makes one file are that file's."""
    job, scoring, quality = encoder.job, encoder.job.profile.vmaf, rungs[0].quality
    if not scoring or not quality or job.profile.ffmpeg:
        return []
    scores = [
        RungScore(
            name=name,
            uri=f"{base}{version}/{name}.mp4",
            width=rung.width,
            height=rung.height,
            codec=_WORDS.get(rung.codec, rung.codec),
            dynamicRange=rung.dynamicRange,
            frameRate=rung.frameRate,
            bitrate=track.average,
            vmaf=rung.quality.vmaf,
            passed=rung.quality.passed,
            warnings=rung.quality.warnings,
        )
        for name, rung, track in zip(encoder.names, rungs, packaged.tracks, strict=False)
        if rung.quality
    ]
    parts = (job.input, base, at_size(scoring, encoder.ladder.rungs[0].picture.size), quality, scores)
    texts = (ladder_report.json_report(*parts), ladder_report.render(*parts).encode())
    files = []
    for text, suffix in zip(texts, SCORE_FILES, strict=True):
        path = encoder.source.with_name(f"ladder{suffix}")
        path.write_bytes(text)
        files.append((path, Output(job.output + uris.name(job.input) + suffix, len(text), role="report")))
    return files


def _plan_notices(package: Package, ladder: Ladder) -> list[Notice]:
    """The warnings of the plans, and of a frame rate that an own ladder asks for and no rung has."""
    notices = [notice for plan in ladder.rungs for notice in plan.notices]
    rungs = package.ladder if isinstance(package.ladder, list) else []
    wishes = [Fraction(rung.frameRate) for rung in rungs if rung.frameRate and rung.frameRate != SOURCE]
    half = ladder.rate / 2
    if missed := [wish for wish in wishes if wish < half * (1 - _NEAR_RATE)]:
        message = (
            f"A rung asks for {float(missed[0]):.3f} frames per second; it has {float(half):.3f}, "
            f"half of the film's, so that players can change between them."
        )
        notices.append(Notice("frame-rate-changed", message))
    return notices


def _sound_tracks(sounds: Sounds | None) -> list[Track]:
    """The sounds as tracks of the package; of several in one language and layout, the second has the number 2."""
    tracks: list[Track] = []
    for number, sound in enumerate(sounds.tracks if sounds else ()):
        language, layout = languages.short(sound.language), _LAYOUTS.get(sound.channels, f"{sound.channels}ch")
        name = f"audio-{language}-{layout}"
        others = sum(track.name == name or track.name.startswith(f"{name}-") for track in tracks)
        tracks.append(
            Track(
                sounds.file if sounds else Path(),
                f"{name}-{others + 1}" if others else name,
                "audio",
                language,
                sound.title,
                channels=sound.channels,
                is_default=sound.is_default,
                group=layout,
                stream=number,
            )
        )
    return tracks


def _text_tracks(texts: SubtitlePlan, folder: Path) -> list[Track]:
    """The text tracks as WebVTT; marks in the name tell forced ones, and those for people who do not hear."""
    tracks: list[Track] = []
    for text in texts.tracks:
        marks = f"{'-forced' if text.is_forced else ''}{'-sdh' if text.is_for_deaf else ''}"
        name = f"subtitles-{text.language or languages.UNKNOWN}{marks}"
        others = sum(track.name == name or track.name.startswith(f"{name}-") for track in tracks)
        tracks.append(
            Track(
                folder / text.vtt_file,
                f"{name}-{others + 1}" if others else name,
                "text",
                text.language,
                text.title,
                is_default=text.is_default,
                is_forced=text.is_forced,
                is_sdh=text.is_for_deaf,
            )
        )
    return tracks


def _thumbnails(stills: Stills) -> Thumbnails | None:
    if not stills.sprites:
        return None
    plan = stills.plan
    return Thumbnails(stills.sprites, plan.size.width, plan.size.height, stills.columns, stills.rows, plan.step)


def _outputs(
    packaged: Packaged,
    tracks: Sequence[Track],
    rungs: Sequence[RungFigures],
    sounds: Sounds | None,
    base: str,
    version: str,
) -> dict[str, Output]:
    """The listed files of a package: its entry files, and the file of each track; by their names below the package."""
    sizes = {name: path.stat().st_size for path, name in packaged.files}
    listed = {name: Output(base + name, size, role="playlist") for name, size in sizes.items() if "/" not in name}
    of_rung = iter(rungs)
    heard = sounds.cpu_seconds / max(1, len(sounds.tracks)) if sounds else 0.0
    for track, figures in zip(tracks, packaged.tracks, strict=True):
        name = f"{version}/{track.name}{'.vtt' if track.kind == 'text' else '.mp4'}"
        output = Output(base + name, sizes[name], role=_ROLES[track.kind], language=track.language or None)
        if track.kind != "text":
            output = structs.replace(
                output,
                bitrate=figures.average,
                peakBitrate=figures.peak,
                codecs=figures.codecs,
                segments=figures.segments,
                overhead=figures.overhead,
            )
        if track.kind == "audio":
            output = structs.replace(output, cpuSeconds=round(heard, 2))
        listed[name] = _with_rung(output, next(of_rung)) if track.kind == "video" else output
    return listed


def _with_rung(output: Output, rung: RungFigures) -> Output:
    return structs.replace(
        output,
        duration=rung.seconds,
        width=rung.width,
        height=rung.height,
        videoCodec=rung.codec,
        frames=rung.frames,
        frameRate=rung.frameRate,
        dynamicRange=rung.dynamicRange,
        cpuSeconds=rung.cpuSeconds,
        vmaf=rung.quality.vmaf if rung.quality else None,
    )
