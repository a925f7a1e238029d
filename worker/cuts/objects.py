"""Sources that are read by ranges: objects of S3, and files."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock
from typing import NamedTuple, Protocol

from worker.aws_faults import input_replaced
from worker.host_faults import host_error
from worker.sandbox.runner import Runner
from worker.storage import Storage

_THREADS = 10
"""Requests at a time: as many as the connections that the SDK keeps."""
_MOST_AT_ONCE = 8 << 20
"""Bytes of one request."""
_SMALL = 4 << 20
"""Bytes up to which a source is read whole, at once."""
CLOSE = 128 << 10
"""Bytes between two ranges that cost less to read than another request does."""


class Span(NamedTuple):
    """Bytes of a source: from `offset` on, `size` of them."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offset + self.size


class Bytes(Protocol):
    """A source of `size` bytes. `bytes_read` counts what came over the network, or from the disk."""

    size: int
    bytes_read: int

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset` on: `size` of them, or fewer at the end of the source.

        Raises JobError or Interrupted, as `Storage.download`.
        """

    def fetch(self, spans: Iterable[Span], target: Path, places: Iterable[int], gap: int = CLOSE) -> None:
        """Write each span into the existing file `target` from its place on. Spans ascend.

        Spans that lie at most `gap` bytes apart are read together. Raises as `read`, and HostError for a full disk.
        """


def joined(spans: Iterable[Span], gap: int = 0) -> list[Span]:
    """The spans, ascending and those joined that overlap or lie at most `gap` bytes apart."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.offset <= whole[-1].end + gap:
            whole[-1] = Span(whole[-1].offset, max(span.end, whole[-1].end) - whole[-1].offset)
        elif span.size:
            whole.append(span)
    return whole


class _Batch(NamedTuple):
    """What one request reads: the span, and where its parts go as pairs of a span and its place."""

    span: Span
    parts: list[tuple[Span, int]]


def _batches(spans: Iterable[Span], places: Iterable[int], gap: int) -> list[_Batch]:
    batches: list[_Batch] = []
    for span, place in zip(spans, places, strict=True):
        done = 0
        while done < span.size:
            part = Span(span.offset + done, min(_MOST_AT_ONCE, span.size - done))
            last = batches[-1].span if batches else Span(-1 - gap, 0)
            is_near = last.offset <= part.offset <= last.end + gap
            if is_near and max(part.end, last.end) - last.offset <= _MOST_AT_ONCE:
                whole = Span(last.offset, max(part.end, last.end) - last.offset)
                batches[-1] = _Batch(whole, [*batches[-1].parts, (part, place + done)])
            else:
                batches.append(_Batch(part, [(part, place + done)]))
            done += part.size
    return batches


class _Ranged:
    """A source whose bytes `_get` gives; small ones are kept in memory."""

    def __init__(self, size: int, check: Callable[[], None]) -> None:
        self.size, self.bytes_read = size, 0
        self._check, self._whole = check, b""
        self._count, self._load = Lock(), Lock()

    def read(self, offset: int, size: int) -> bytes:
        """As `Bytes.read`."""
        offset = max(0, offset)
        size = min(size, self.size - offset)
        if size <= 0:
            return b""
        self._check()
        if self.size <= _SMALL:
            with self._load:
                self._whole = self._whole or self._counted(0, self.size)
            return self._whole[offset : offset + size]
        return self._counted(offset, size)

    def fetch(self, spans: Iterable[Span], target: Path, places: Iterable[int], gap: int = CLOSE) -> None:
        """As `Bytes.fetch`."""
        batches = _batches(spans, places, gap)
        with target.open("r+b") as file, ThreadPoolExecutor(_THREADS) as pool:
            waiting = {pool.submit(self._copy, batch, file.fileno()) for batch in batches[: 2 * _THREADS]}
            try:
                for batch in batches[2 * _THREADS :]:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for each in done:
                        each.result()
                    waiting.add(pool.submit(self._copy, batch, file.fileno()))
                for each in waiting:
                    each.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _copy(self, batch: _Batch, file: int) -> None:
        content = memoryview(self.read(*batch.span))
        for span, place in batch.parts:
            start = span.offset - batch.span.offset
            try:
                _write(file, content[start : start + span.size], place)
            except OSError as error:
                raise host_error(error) or error from error

    def _counted(self, offset: int, size: int) -> bytes:
        content = self._get(offset, size)
        with self._count:
            self.bytes_read += len(content)
        return content

    def _get(self, offset: int, size: int) -> bytes:
        raise NotImplementedError


def _write(file: int, content: memoryview, place: int) -> None:
    while content:
        written = os.pwrite(file, content, place)
        content, place = content[written:], place + written


class StoredObject(_Ranged):
    """One version of an object of S3."""

    def __init__(self, storage: Storage, uri: str, runner: Runner, side: str = "input", etag: str = "") -> None:
        """With `etag`, the version that has it; PermanentError `input-replaced` where it is no longer there.

        Raises JobError, as `Storage.download`: also for an object that is too large, but not for the disk's sake.
        """
        size, self.etag = storage.opened(uri, side, anew=bool(etag))
        if etag not in ("", self.etag):
            raise input_replaced(uri)
        runner.limits.check_bytes(side, size)
        super().__init__(size, runner.check)
        self._storage, self._side, self.uri = storage, side, uri

    def _get(self, offset: int, size: int) -> bytes:
        return self._storage.read_range(self.uri, self.etag, offset, size, self._side)


class LocalFile(_Ranged):
    """A file of this machine."""

    def __init__(self, path: Path, runner: Runner) -> None:
        super().__init__(path.stat().st_size, runner.check)
        self._path = path

    def _get(self, offset: int, size: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
