"""Early playback of one job: a thread for the pictures, which follows the chunks, and one for the sound."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from elasticrecode.clock import now_ms
from elasticrecode.jobs.events import Notice
from elasticrecode.jobs.versions import GRACE_MS, Versions
from elasticrecode.parts.part import PartResult
from worker.chunks import Place
from worker.early.files import EarlyFiles, again
from worker.early.picture import EarlyPicture
from worker.early.sound import EarlySound
from worker.errors import ClaimLost, Interrupted, JobError, WorkerError
from worker.media.ladder import Ladder
from worker.media.pieces import Chunk
from worker.parts import Parts
from worker.sandbox.runner import Runner

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_KEEP_SECONDS = 3600.0
_CHECK_SECONDS = 0.2


class EarlyPlayback:
    """Plays a film early from its entry on. It ends, with the whole film, when it is left without an error.

    An error of early playback fails no job: it stops there, and `notices` says so.
    """

    def __init__(
        self, at: Place, ladder: Ladder, chunks: Sequence[tuple[str, Chunk]], parts: Parts, rest: Path | None
    ) -> None:
        """`chunks` are those of the rungs in the order of the parts, by name; `rest` has the film's sound, if any."""
        division = parts.division
        if not division:
            raise ValueError("the film is not divided")
        self._at, self._parts, self._rest = at, parts, rest
        # Its CPU seconds are not those of the job's encodes, and it ends with this playback.
        self._runner = Runner(at.runner.limits, at.settings.sandbox)
        self._files = EarlyFiles(at.job, division.attempt, at.storage, at.runner)
        self._picture = EarlyPicture(self._files, at, self._runner, ladder, chunks)
        self._sound = EarlySound(
            self._files, at, self._runner, ladder, self._picture.step_seconds, self._picture.target
        )
        self._track = self._sound.plan(self._picture.seconds) if rest else None
        table = at.settings.jobs_table
        self._versions = Versions(table, at.settings.queue) if table else None
        self._kept_at = -_KEEP_SECONDS
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._guarded, args=(self._follow,), name="early", daemon=True)]
        if self._track:
            sounding = threading.Thread(target=self._guarded, args=(self._hear,), name="early-sound", daemon=True)
            self._threads.append(sounding)
        else:
            self._sound.settled.set()
        self.notices: list[Notice] = []

    def __enter__(self) -> Self:
        (self._at.folder / "early").mkdir(exist_ok=True)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not kind:
            self._ending.set()
        try:
            while not kind and any(thread.is_alive() for thread in self._threads):
                self._at.runner.check()
                self._threads[0].join(_CHECK_SECONDS)
                self._threads[-1].join(_CHECK_SECONDS)
        finally:
            self._runner.stop(ClaimLost("early playback ends"))
            for thread in self._threads:
                thread.join()

    def _guarded(self, act: Callable[[], None]) -> None:
        """Do the work of a thread. What it raises ends early playback, not the job."""
        try:
            act()
        except Interrupted as stop:
            _log.info("job %s plays early no more: %s", self._at.job.jobid, stop)
        except Exception as error:  # noqa: BLE001
            _log.exception("job %s plays early no more", self._at.job.jobid)
            reason = str(error) if isinstance(error, JobError) else f"The worker failed: {type(error).__name__}."
            self.notices.append(Notice("early-playback-stopped", f"The film stopped to play early. {reason}"))
        finally:
            if act == self._hear:
                self._sound.settled.set()

    def _hear(self) -> None:
        if self._track and self._rest:
            self._sound.encode(self._track, self._rest)

    def _follow(self) -> None:
        """Publish chunk after chunk, until the film is whole. Raises JobError or Interrupted."""
        picture, has_entry = self._picture, False
        self._keep()
        again(lambda: self._files.list_all([*picture.names(), *self._sound.names(picture.seconds)]), self._runner)
        again(picture.adopt, self._runner)
        while not picture.is_whole or (picture.codecs and not has_entry):
            result = None if picture.is_whole else self._result(picture.next)
            if result:
                again(partial(picture.publish, result), self._runner)
                self._keep()
            if not has_entry and picture.codecs and self._sound.settled.is_set():
                sound = self._sound.described(self._track) if self._track else None
                again(partial(self._files.put_entry, picture.entry(sound)), self._runner)
                has_entry = True
            if not result:
                self._runner.check()
                time.sleep(_LOOK_SECONDS)
        self._keep(at_end=True)

    def _result(self, number: int) -> PartResult | None:
        """The result of a chunk; None while it has none. Raises JobError where it will have none."""
        is_last_look = self._ending.is_set()
        stored = self._parts.read() if is_last_look else self._parts.stored
        result = next((each.result for each in stored if each.part.number == number), None)
        if is_last_look and not result:
            raise WorkerError("worker-error", f"The result of part {number} is gone.")
        return result

    def _keep(self, *, at_end: bool = False) -> None:
        """Have the files removed a day after this."""
        if not self._versions or not (at_end or time.monotonic() > self._kept_at + _KEEP_SECONDS):
            return
        self._kept_at = time.monotonic()
        again(partial(self._versions.retire, self._files.folder, self._at.job, now_ms() + GRACE_MS), self._runner)
