"""The sound of what plays early: encoded from the rest of the film, and published while ffmpeg writes it."""

import logging
from fractions import Fraction
from pathlib import Path
from threading import Event

from msgspec import UNSET, structs

from elasticrecode.media.profiles import Audio
from worker.chunks import Place
from worker.early import playlists
from worker.early.files import EarlyFiles, again
from worker.early.playlists import Fragment, GrowingFile, Part, Sound
from worker.errors import PermanentError, TransientError
from worker.media import languages
from worker.media.audio import AudioOutput, AudioPlan
from worker.media.demuxers import input_options
from worker.media.ffmpeg_errors import encoder_error, grave
from worker.media.ladder import MUXER, Ladder
from worker.media.recording import arguments
from worker.media.renditions import WITHOUT_PRIMING, plan_sounds
from worker.sandbox.runner import Runner, last_lines

_log = logging.getLogger(__name__)

PLAYLIST, _INIT = "audio.m3u8", "audio-init.mp4"
_MOST_BITS = 192_000
"""More than a second of the sound has, in bit/s."""
_SPARE_SEGMENTS = 16


class EarlySound:
    """The sound that plays beside the pictures: the default track in stereo."""

    def __init__(
        self, files: EarlyFiles, at: Place, runner: Runner, ladder: Ladder, step: Fraction, target: int
    ) -> None:
        """`step` is the length of a segment in seconds, `target` the target duration of its playlist."""
        self._files, self._at, self._runner = files, at, runner
        self._ladder, self._step, self._target = ladder, step, target
        self._growing, self._waiting = GrowingFile(), list[Fragment]()
        self._parts: list[Part] = []
        self._least = 0
        self.settled = Event()
        """Set when the sound has begun to play, or never will."""

    def plan(self, seconds: Fraction) -> AudioOutput | None:
        """The track, `seconds` long; None for a film without a sound, or a package without one."""
        profile = self._at.job.profile
        wished = profile.audio or Audio()
        if wished.codec == "none":
            return None
        plain = structs.replace(wished, codec="aac", channels="stereo", bitrate=UNSET, loudness=UNSET)
        tracks = plan_sounds(self._ladder.source, structs.replace(profile, audio=plain), seconds).tracks
        return next((track for track in tracks if track.is_default), tracks[0] if tracks else None)

    def names(self, seconds: Fraction) -> list[str]:
        """The names of all files that there may be."""
        count = int(seconds / self._step) + _SPARE_SEGMENTS
        return [PLAYLIST, _INIT, *(f"audio-{n}.m4s" for n in range(count))]

    def described(self, track: AudioOutput) -> Sound | None:
        """The sound as players find it; None as long as it is not there."""
        if not self._parts and not self._least:
            return None
        return Sound(languages.short(track.language), self._files.relative(PLAYLIST), _MOST_BITS)

    def encode(self, track: AudioOutput, rest: Path) -> None:
        """Encode and publish the sound of the file `rest` in the job's folder. Raises JobError or Interrupted."""
        self._least = len(self._files.listed(PLAYLIST))
        target, log = rest.with_name("early-sound.mp4"), rest.with_name("early-sound.log")
        limits, video = self._runner.limits, self._ladder.source.video
        options = (*input_options(limits, is_late=video.is_late), "-f", video.demuxer, "-i", f"file:{rest}")
        micros = str(round(self._step * 1_000_000))
        growing = ("-movflags", "+empty_moov+default_base_moof", "-frag_duration", micros, "-flush_packets", "1")
        finishing = ("-bsf:a:0", WITHOUT_PRIMING, *growing)
        command = [self._at.settings.ffmpeg, *arguments(AudioPlan((track,)), options, MUXER, str(target), finishing)]
        try:
            seconds = limits.timeout_seconds(video.duration)
            status = self._runner.run(
                command, rest.parent, log, seconds=seconds, on_line=lambda *_: self._publish_some(target)
            )
            if status:
                raise encoder_error(grave(last_lines(log, rest.parent)), status)
            again(lambda: self._publish(target, is_whole=True), self._runner)
        finally:
            target.unlink(missing_ok=True)
            self.settled.set()

    def _publish_some(self, target: Path) -> None:
        try:
            self._publish(target)
        except TransientError as error:  # what waits is published with the next
            _log.warning("the early sound waits: %s", error)

    def _publish(self, target: Path, *, is_whole: bool = False) -> None:
        """Publish the segments that ffmpeg has written since."""
        if target.exists():
            with target.open("rb") as file:
                file.seek(self._growing.wanted)
                try:
                    self._waiting += self._growing.take(file.read())
                except ValueError as error:
                    raise PermanentError("encoder-failed", f"The early sound cannot be read: {error}.") from error
        if not self._waiting and not is_whole:
            return
        with target.open("rb") as file:
            if not self._parts and self._growing.head:
                self._files.put(_INIT, self._growing.head)
            while self._waiting:
                each, name = self._waiting[0], f"audio-{len(self._parts)}.m4s"
                file.seek(each.offset)
                self._files.put(name, file.read(each.size))
                self._parts.append(Part(each.seconds, name))
                del self._waiting[0]
        if is_whole or len(self._parts) >= self._least:
            text = playlists.playlist(self._parts, _INIT, self._target, is_whole=is_whole)
            self._files.put_playlist(PLAYLIST, text)
            self.settled.set()
