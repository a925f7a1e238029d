"""The outputs of a divided film, made by its holder of the chunks that all workers have encoded."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path

import msgspec
from msgspec import structs

from elasticrecode.jobs.events import Notice, Progress, Quality, TargetReached
from elasticrecode.jobs.job import plays_early
from elasticrecode.jobs.uris import output_name
from elasticrecode.media.codecs import CONTAINERS
from elasticrecode.media.profiles import Vmaf
from worker.certificate.evidence import FilmPart, FilmRecord, Join, JoinedPart, PartOutput, evidence_of
from worker.certificate.parts import load_run
from worker.chunks import ChunkEncoder, Place
from worker.cuts.index import Index, join_rest, make_rest, open_index
from worker.cuts.movie import MOVIE, MovieIndex
from worker.dividing import Divided
from worker.early.playback import EarlyPlayback
from worker.errors import PermanentError
from worker.films import FILE, REST, RUN, SCORE, ChunkResult, FilmPlan, encodes_of, result_of
from worker.goals import Goal, ReachedPart, reached
from worker.holding import Encoded
from worker.joining.chunks import ChunkFile
from worker.joining.finish import finish_file
from worker.joining.join import Cap, Joined, join
from worker.joining.sounds import Sound, encode_sound, expected_seconds
from worker.keys import encrypted
from worker.media import damage, images, pieces, subtitles, timing
from worker.media.chunk import ChunkFigures
from worker.media.images import THUMBS, ImagePlan
from worker.media.ladder import expected_length, plan_ladder
from worker.media.pieces import Piece
from worker.media.plan import make_plan
from worker.media.renditions import rung_figures
from worker.media.subtitles import SideFile, SubtitlePlan, read_subtitles
from worker.media.verify import Verified, read_back
from worker.outlook import seconds_of
from worker.package import PackageEncoder, PackageFiles, finish
from worker.parts import Parts
from worker.produced import Produced, of_score
from worker.publication import Version
from worker.quality import results
from worker.quality.aim import corrections, selected
from worker.quality.pooled import Measured, load, pool
from worker.quality.score import at_size
from worker.side_files import find_side_files

_CORRECTIONS = 3
"""Times that chunks are encoded again for the mean of the film."""


class Chunks:
    """The results of all parts of a film, with their files in the job's folder."""

    def __init__(self, at: Place, film: FilmPlan, encoded: Mapping[int, Encoded]) -> None:
        self._at, self._film = at, film
        self._files: list[dict[str, Path]] = []
        self.results: list[ChunkResult] = []
        for number in range(len(film.work)):
            result = result_of(encoded[number])
            self.results.append(result)
            self._files.append(dict(zip(result.files, encoded[number].files, strict=True)))
        self._joins: list[Join] = []
        self._measured: dict[int, list[Measured | None]] = {}

    def rest(self, film: Divided) -> Path:
        """All of the film but its pictures, of the pieces that its chunks have brought."""
        target, pieces = self._at.folder / REST, [files[REST] for files in self._files if REST in files]
        if self._film.film.demuxer == MOVIE and isinstance(index := opened(self._at, film), MovieIndex):
            return index.rest_of(pieces, target)
        join_rest(self._film.film, pieces, target)
        return target

    def draw(self) -> None:
        """Bring the pictures beside the film together, where `images.finish` looks for them. Raises as `Runner.run`."""
        folder, thumbs = self._at.folder, list[Path]()
        for files in self._files:
            if THUMBS in files:
                thumbs.append(files[THUMBS])
            for candidate in (each for each in files if each.startswith("poster-")):
                files[candidate].replace(folder / candidate)
        if thumbs:
            images.join_thumbs(thumbs, folder, self._at.settings.ffmpeg, self._at.runner)

    def quality(self, output: int) -> Measured | None:
        """The measurement of an output's score; None without one."""
        measured = [each for each in self._scores(output) if each]
        return pool(measured) if measured else None

    def _scores(self, output: int) -> list[Measured | None]:
        """The measurement of an output in each chunk; None where it has none."""
        name = f"{SCORE}{output}"
        if output not in self._measured:
            self._measured[output] = [load(files[name]) if name in files else None for files in self._files]
        return self._measured[output]

    def record(self, attempts: Mapping[int, int]) -> FilmRecord:
        """How the film was made. `attempts` has the attempt of each part by its number."""
        encode, film = self._at.job.profile.ffmpeg, self._film
        begin = (encode.start or 0.0) if encode else 0.0
        parts = []
        for number, (work, files, result) in enumerate(zip(film.work, self._files, self.results, strict=True)):
            run, scores = load_run(files[RUN]), {output: self._scores(output)[number] for output in result.outputs}
            start, end = seconds_of(work, begin)
            outputs = {
                output_label(output): PartOutput(
                    file=run.files[output],
                    crf=result.factors[output],
                    bits=8 * figures.bytes,
                    frames=figures.frames,
                    vmaf=mean.mean if (scored := scores[output]) and (mean := scored.scores.mean("vmaf")) else None,
                )
                for output, figures in result.outputs.items()
                if output in run.files
            }
            at = attempts.get(number, 1)
            parts.append(FilmPart(work.name, start, end, at, run.cut, run.steps, outputs, run.programs))
        return FilmRecord(pieces.lead(film.source.video), film.has_rest, parts, self._joins)

    def figures(self, output: int) -> list[ChunkFigures]:
        """The figures of an output, by chunk."""
        return [result.outputs[output] for result in self.results]

    def reached(self) -> TargetReached | None:
        """What came of the target of quality of the file; None without one."""
        goal, measured = self._film.goal, self.quality(FILE)
        mean = measured.scores.mean("vmaf") if measured else None
        if not goal or not mean:
            return None
        parts = [
            ReachedPart(work.name, result.scored, result.tries)
            for work, result in zip(self._film.work, self.results, strict=True)
            if result.scored
        ]
        return reached(goal, mean.mean, parts)

    def cpu_seconds(self, output: int) -> float:
        """CPU seconds of the encodes of an output."""
        return sum(figures.cpuSeconds for figures in self.figures(output))

    def damage(self) -> list[Notice]:
        """The warning of frames that could not be decoded. Raises PermanentError `input-corrupt` for too many."""
        output = min(self._film.rates)
        figures = self.figures(output)
        harmed = [n for n, each in enumerate(figures) if each.lost or each.marred]
        starts = [work.file or work.rungs for work in self._film.work]
        first = starts[harmed[0]] if harmed else None
        return damage.of_chunks(
            sum(each.lost for each in figures),
            sum(each.marred for each in figures),
            sum(each.frames for each in figures),
            float(first.start) if first else None,
        )

    def joined(self, output: int, units: Fraction, ticks: int) -> Joined:
        """The film of an output. Raises PermanentError `output-invalid` for chunks that do not fit."""
        chunks, written = list[ChunkFile](), list[str]()
        rate = self._film.rates[output]
        for work, files, result in zip(self._film.work, self._files, self.results, strict=True):
            chunk = work.file if output == FILE else work.rungs
            if not chunk:
                raise ValueError(output)
            start, end = (
                None if time is None else int(time * ticks / units) for time in Piece(chunk, ()).bounds(units)
            )
            figures = result.outputs[output]
            if not figures.frames:  # the picture before it stays
                chunks = [*chunks[:-1], chunks[-1]._replace(end=end)] if chunks else chunks
                continue
            chunks.append(ChunkFile(files[f"{output}"], work.name, start or 0, end, figures.frames))
            written.append(load_run(files[RUN]).files[output])
        if not chunks:
            raise PermanentError("input-corrupt", "No frame of the input could be decoded.")
        cap = Cap(round(rate.peak), round(rate.buffer)) if rate.peak else None
        at = self._at
        target = at.folder / f"joined-{output}.mp4"
        files_of = zip(written, chunks, strict=True)
        parts = [JoinedPart(name, each.name, each.start, each.end, each.frames or 0) for name, each in files_of]
        self._joins.append(Join(target.name, ticks, output == FILE, parts))
        is_file = output == FILE
        return join(chunks, target, ticks, at.settings.ffprobe, at.runner, cap=cap, consume=True, edited=is_file)


def output_label(output: int) -> str:
    """The name of an output of a film by its number."""
    return "file" if output == FILE else f"rung-{output}"


def _summary(measured: Measured, profile: Vmaf) -> Quality:
    return results.summarize(measured.scores, profile, measured.warnings, measured.pairs)


class FileAssembly:
    """The one output file of a film: its sound first, and then the whole of its chunks."""

    def __init__(self, at: Place, film: FilmPlan, sides: Sequence[SideFile]) -> None:
        self._at, self._film, self._sides = at, film, sides
        self._sound: Sound | None = None

    def hear(self, rest: Path | None) -> None:
        """Encode the sound, and read the subtitles, of the rest of the film. Raises JobError or Interrupted."""
        at, source, profile = self._at, self._film.source, self._at.job.profile
        if not profile.ffmpeg:
            raise ValueError("the job has no output file")
        muxer = CONTAINERS[self._uri.rpartition(".")[2].lower()]
        path = rest or at.folder / REST
        texts = read_subtitles(path, source, profile, profile.ffmpeg, at.settings.ffmpeg, at.runner, self._sides)
        plan = make_plan(source, profile, profile.ffmpeg, muxer, texts)
        self._sound = encode_sound(plan, rest, at.settings, at.runner, lambda *_: at.report(Progress()))

    @property
    def _uri(self) -> str:
        encode = self._at.job.profile.ffmpeg
        return self._at.job.output + output_name(self._at.job.input, encode.codec if encode else "")

    def finish(self, chunks: Chunks) -> Produced:
        """The output file and what goes beside it. Raises JobError or Interrupted."""
        at, sound = self._at, self._sound
        if not sound:
            raise ValueError("the sound comes first")
        plan, target = sound.plan, at.folder / "output"
        plan.picture.write_files(at.folder)  # the certificate has the texts that the runs of the chunks read
        encode, video = plan.picture.encode, plan.source.video
        ticks = timing.ticks(video, encode)
        joined = chunks.joined(FILE, timing.wanted_rate(encode) or Fraction(ticks), ticks)
        pictures = ImagePlan() if at.job.profile.package else plan.images
        done = finish_file(plan, joined, sound, target, self._uri, at.settings, at.runner, pictures=pictures)
        files = [(target, done.output), *images.published(done.stills, at.job.input, at.job.output, at.folder)]
        files += subtitles.published(plan.subtitles, at.job.input, at.job.output, at.folder)
        measured, own = chunks.quality(FILE), evidence_of(done)
        if not measured:
            return Produced(files, None, done.notices, evidence=own)
        own = own._replace(moments=tuple(measured.moments))
        scored = of_score(measured, chunks.reached(), at.job, self._uri, at.folder)
        return Produced([*files, *scored.files], scored.quality, done.notices, evidence=own)


def assemble(at: Place, film: Divided, parts: Parts, version: str) -> Produced:
    """Have all chunks encoded, some of them here, and make the outputs of them. Raises JobError or Interrupted."""
    rest = None if film.plan.has_rest else _rest(at, film)
    with _early(at, film.plan, parts, rest) as playback:
        produced = _assembled(at, film, parts, version, rest)
    return produced._replace(notices=[*produced.notices, *(playback.notices if playback else ())])


def _early(at: Place, plan: FilmPlan, parts: Parts, rest: Path | None) -> AbstractContextManager[EarlyPlayback | None]:
    """What plays the film while it is made, where the job wants that."""
    if not plays_early(at.job.profile):
        return nullcontext()
    encodes = sorted(encodes_of(at.job, plan.source).items())
    rungs = [encode for number, encode in encodes if number != FILE]
    ladder = plan_ladder(plan.source, at.job.profile, rungs, SubtitlePlan(), plan.ends)
    chunks = [(work.name, work.rungs) for work in plan.work if work.rungs]
    return EarlyPlayback(at, ladder, chunks, parts, rest)


def _assembled(at: Place, film: Divided, parts: Parts, version: str, rest: Path | None) -> Produced:
    """The outputs of a film, whose `rest` is there unless its chunks bring it."""
    at, job, plan = at._replace(report=parts.report), at.job, film.plan
    parts.sound_seconds = expected_seconds(plan.source, job.profile) if plan.has_rest else 0.0
    sides, notices = find_side_files(job, at.storage, at.folder, at.runner)
    file = FileAssembly(at, plan, sides) if job.profile.ffmpeg else None
    package = PackageAssembly(at, plan, sides) if job.profile.package else None
    makers = [maker for maker in (file, package) if maker]
    for maker in makers if not plan.has_rest else ():
        maker.hear(rest)
    encoder = ChunkEncoder(at, plan, film.plans, film.source, lambda: parts.stored)
    chunks = Chunks(at, plan, _corrected(encoder, parts.run(encoder.encode, at.folder)))
    notices += chunks.damage()
    chunks.draw()
    if plan.has_rest:
        rest = chunks.rest(film)
        for maker in makers:
            maker.hear(rest)
    produced = file.finish(chunks) if file else Produced([], None, [])
    if package:
        done = package.finish(chunks, version)
        produced = Produced(
            [*produced.files, *done.files],
            produced.quality or done.quality,
            [*produced.notices, *done.notices],
            Version(done.folder, done.unlisted),
            produced.evidence.joined(done.evidence),
        )
    attempts = {each.part.number: each.attempt for each in parts.read()}
    evidence = produced.evidence._replace(film=chunks.record(attempts))
    return produced._replace(notices=list(dict.fromkeys([*notices, *produced.notices])), evidence=evidence)


def _corrected(encoder: ChunkEncoder, encoded: Mapping[int, Encoded]) -> Mapping[int, Encoded]:
    """All chunks, some of them encoded again so that the mean of the film is what its target of quality wants."""
    goal, spans = encoder.plan.goal, [work.span for work in encoder.plan.work]
    if not goal:
        return encoded
    takes = {number: [each] for number, each in encoded.items() if result_of(each).scored}
    for _ in range(_CORRECTIONS):
        chosen = {number: result_of(each) for number, each in _selected(goal, takes).items()}
        results = {number: each.scored for number, each in chosen.items() if each.scored}
        tries = {number: [one.scored for one in each.tries] for number, each in chosen.items()}
        wanted = corrections(goal.curve, goal.aim, spans, results, tries) if results else {}
        if not wanted:
            break
        for number, crf in wanted.items():
            takes[number].append(encoder.again(number, crf, takes[number][-1]))
    return {**encoded, **_selected(goal, takes)}


def _selected(goal: Goal, takes: Mapping[int, Sequence[Encoded]]) -> dict[int, Encoded]:
    """Of the takes of each chunk the one that the film is to have, which knows of all others."""
    scored = {n: [one for each in some if (one := result_of(each).scored)] for n, some in takes.items()}
    chosen = {}
    for number, place in selected(goal.aim, scored).items():
        take, last = takes[number][place], takes[number][-1]
        chosen[number] = take._replace(figures={**take.figures, "tries": last.figures["tries"]})
    return chosen


def _rest(at: Place, film: Divided) -> Path | None:
    """All of the film but its pictures, where its container has an index of that; None where there is nothing else."""
    return make_rest(opened(at, film), film.source, at.folder / REST)


def opened(at: Place, film: Divided) -> Index:
    """The index of the film, which an adopted one is opened for again."""
    return film.opened or open_index(film.source, at.folder, at.settings, at.runner)[1]


class PackageAssembly:
    """The package of a film: its sounds first, and then its rungs, each the whole of its chunks."""

    def __init__(self, at: Place, film: FilmPlan, sides: Sequence[SideFile]) -> None:
        self._at, self._film, self._sides = at, film, sides
        self._encoder: PackageEncoder | None = None

    def hear(self, rest: Path | None) -> None:
        """Read the subtitles of the rest of the film, and encode its sounds, as far as its length is known before."""
        at, film = self._at, self._film
        if not at.job.profile.package:
            raise ValueError("the job has no package")
        parts = (at.job, at.job.profile.package, rest or at.folder / REST, at.settings, at.runner, at.report)
        self._encoder = PackageEncoder(*parts, self._sides, inspected=(film.source, film.ends))
        if rest and (length := expected_length(self._encoder.ladder, film.ends)):
            self._encoder.hear(length, lambda *_: at.report(Progress()))

    def finish(self, chunks: Chunks, version: str) -> PackageFiles:
        """The files of the package. Raises JobError or Interrupted."""
        at, encoder, package = self._at, self._encoder, self._at.job.profile.package
        if not encoder or not package:
            raise ValueError("the sounds come first")
        ladder, scoring, results = encoder.ladder, at.job.profile.vmaf, {}
        for number, rung in enumerate(ladder.rungs):
            joined = chunks.joined(number, ladder.rate, ladder.ticks)
            read, packets = read_back(at.settings, at.runner, joined.file, rung, [])
            verified = Verified(read.video, packets.tracks[read.video.stream], [])
            figures = rung_figures(rung, verified, chunks.cpu_seconds(number))
            if scoring and (measured := chunks.quality(number)):
                encoder.moments = encoder.moments if number else tuple(measured.moments)
                quality = _summary(measured, at_size(scoring, ladder.rungs[0].picture.size))
                figures = structs.replace(figures, quality=quality)
            results[number] = Encoded((joined.file,), msgspec.to_builtins(figures))
        for plan in ladder.rungs:
            plan.picture.write_files(at.folder)  # the certificate has the texts that the runs of the chunks read
        return finish(encoder, results, encrypted(at.job, package, at.settings), version)
