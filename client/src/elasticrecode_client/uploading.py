"""Uploads a file in parts, several at a time, and goes on where an earlier process broke off; `transfers` sends."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from elasticrecode_client.calls import Answer, Call, Flow, NotSent, Pause
from elasticrecode_client.downloading import Digest
from elasticrecode_client.exchange import Exchange, delay, is_private
from elasticrecode_client.problems import NotFound, TransferFailed
from elasticrecode_client.types import NewUpload, PartLinks, Uploaded, UploadRecord

PARALLEL = 4
"""Parts that are sent at the same time."""
_LINKS = 32
_EARLY_SECONDS = 120
_TRIES = 5
_FORBIDDEN = 2
"""So often S3 may refuse a part's link: one that has ended is replaced, but a policy refuses each."""
_S3_CODE = re.compile(rb"<Code>([A-Za-z0-9]{1,64})</Code>")


class Sent(NamedTuple):
    """How far an upload is: bytes that were sent, also by an earlier process, and bytes of the file."""

    sent: int
    total: int


Progress = Callable[[Sent], None]


class Piece(NamedTuple):
    """A part of a file: its number, from 1, and its bytes from `start`."""

    number: int
    start: int
    size: int


class Begin(NamedTuple):
    """Begin to PUT a piece of the file to its URL, which is as good as a secret: None."""

    piece: Piece
    url: str

    def __repr__(self) -> str:
        return f"Begin({self.piece})"


class Report(NamedTuple):
    """Wait until a piece moves on: `Moved` or `Done`."""


class Moved(NamedTuple):
    """So many more bytes of a piece were handed to the network."""

    number: int
    size: int


class Done(NamedTuple):
    """A piece has come to an end, good or bad."""

    number: int
    outcome: Answer | NotSent


class _File(NamedTuple):
    """A file as it was when its upload began."""

    path: Path
    size: int
    modified: int

    @classmethod
    def read(cls, path: Path) -> _File:
        """Raises TransferFailed for one that cannot be read, or is no file."""
        try:
            status = path.stat()
        except OSError as error:
            raise TransferFailed(f"{path} cannot be read: {error.strerror}.") from None
        if not path.is_file():
            raise TransferFailed(f"{path} is not a file.")
        if not status.st_size:
            raise TransferFailed(f"{path} is empty.")
        return cls(path.resolve(), status.st_size, status.st_mtime_ns)


class Memory:
    """The id of the unfinished upload of a file for a user of a deployment, in a file of the cache folder."""

    def __init__(self, folder: Path, *key: object) -> None:
        name = hashlib.sha256(json.dumps([str(one) for one in key]).encode()).hexdigest()
        self._path = folder / "uploads" / f"{name}.json"

    def recall(self) -> str | None:
        """The id; None where there is none."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self._path.read_text())["uploadID"])
        return None

    def keep(self, upload_id: str) -> None:
        """Keep the id. A folder that cannot be written only costs that the upload cannot be resumed."""
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._path.write_text(json.dumps({"uploadID": upload_id}))

    def forget(self) -> None:
        """Forget the id."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def upload(
    exchange: Exchange,
    path: Path,
    cache: Path,
    *,
    name: str | None = None,
    user_id: str | None = None,
    progress: Progress | None = None,
    resume: bool = True,
    key: str | None = None,
) -> Flow[str]:
    """The URI of an uploaded file. Raises TransferFailed, and what calls raise."""
    file = _File.read(path)
    user = user_id or (yield from exchange.who())
    memory = Memory(cache, exchange.url, user, file.path, file.size, file.modified)
    record = (yield from _resumed(exchange, memory, file)) if resume and not key else None
    if record is None:
        body = {"userID": user, "name": name or file.path.name, "bytes": file.size}
        inner = (yield from _inner_key(key, file)) if key else None
        begun = yield from exchange.call(Call[NewUpload]("POST /v1/uploads", body=body, key=inner))
        record = (yield from _shown(exchange, begun["uploadID"])) if key else {**begun, "uploaded": []}
        memory.keep(record["uploadID"])
    sending = _Sending(exchange, record, progress or (lambda sent: None))
    yield from sending.all()
    if _File.read(path) != file:
        memory.forget()
        raise TransferFailed(f"{path} has changed while it was uploaded; upload it again.")
    where = {"uploadID": record["uploadID"]}
    done = yield from exchange.call(Call[Uploaded]("POST /v1/uploads/{uploadID}/complete", path=where))
    memory.forget()
    return done["uri"]


def _resumed(exchange: Exchange, memory: Memory, file: _File) -> Flow[UploadRecord | None]:
    upload_id = memory.recall()
    if upload_id is None:
        return None
    try:
        record = yield from _shown(exchange, upload_id)
    except NotFound:
        memory.forget()
        return None
    return record if record["bytes"] == file.size else None


def _shown(exchange: Exchange, upload_id: str) -> Flow[UploadRecord]:
    call = Call[UploadRecord]("GET /v1/uploads/{uploadID}", path={"uploadID": upload_id})
    return (yield from exchange.call(call))


def _inner_key(key: str, file: _File) -> Flow[str]:
    """The Idempotency-Key of an upload: the same bytes go on with it, and other ones are another upload."""
    digest: str = yield Digest(file.path)
    return hashlib.sha256(f"{key}\n{digest}".encode()).hexdigest()


class _Sending:
    """Sends the missing parts of an upload, some at a time; a part that fails is sent again, by a new link."""

    def __init__(self, exchange: Exchange, record: UploadRecord, progress: Progress) -> None:
        self._exchange = exchange
        self._record = record
        self._progress = progress
        self._urls: dict[int, str] = {}
        self._urls_end = 0.0
        self._tries: Counter[int] = Counter()
        self._forbidden: Counter[int] = Counter()
        self._moved = dict.fromkeys(record["uploaded"], 0)
        size = record["partBytes"]
        self._pieces = {
            number: Piece(number, (number - 1) * size, min(size, record["bytes"] - (number - 1) * size))
            for number in range(1, record["parts"] + 1)
        }
        for number in record["uploaded"]:
            self._moved[number] = self._pieces[number].size
        self._failing: dict[int, float] = {}

    def all(self) -> Flow[None]:
        """Send all that is missing."""
        waiting = [number for number in self._pieces if number not in self._moved]
        running = 0
        self._show()
        while waiting or running:
            while waiting and running < PARALLEL:
                url = yield from self._url(waiting)
                number = waiting.pop(0)
                yield Begin(self._pieces[number], url)
                running += 1
            report = yield Report()
            if isinstance(report, Moved):
                self._moved[report.number] = self._moved.get(report.number, 0) + report.size
            else:
                running -= 1
                yield from self._end(report, waiting)
            self._show()

    def _end(self, done: Done, waiting: list[int]) -> Flow[None]:
        """A piece has been sent, or is sent again. Raises TransferFailed."""
        outcome, number = done.outcome, done.number
        if isinstance(outcome, Answer) and outcome.status == 200:
            self._moved[number] = self._pieces[number].size
            return
        self._moved.pop(number, None)
        self._urls.pop(number, None)
        lost = isinstance(outcome, NotSent) or outcome.status in (403, 408, 429) or outcome.status >= 500
        self._tries[number] += 1
        self._forbidden[number] += isinstance(outcome, Answer) and outcome.status == 403
        if not lost or self._forbidden[number] > _FORBIDDEN or self._has_no_patience(number):
            raise TransferFailed(f"Part {number} could not be sent: {_reason(outcome)}")
        waiting.insert(0, number)
        yield Pause(delay(self._tries[number]))

    def _has_no_patience(self, number: int) -> bool:
        """Whether a piece has failed for long and often: on a slow line each try may take minutes."""
        since = self._failing.setdefault(number, time.monotonic())
        return self._tries[number] > _TRIES and time.monotonic() - since > self._exchange.patience

    def _url(self, waiting: Sequence[int]) -> Flow[str]:
        """The URL of the first waiting part, with new ones where it has none or its own ends soon."""
        if waiting[0] not in self._urls or self._exchange.now() > self._urls_end - _EARLY_SECONDS:
            where = {"uploadID": self._record["uploadID"]}
            body: dict[str, Any] = {"parts": list(waiting[:_LINKS])}
            call = Call[PartLinks]("POST /v1/uploads/{uploadID}/links", path=where, body=body)
            links = yield from self._exchange.call(call)
            self._urls = {int(number): url for number, url in links["urls"].items()}
            self._urls_end = links["expiresAt"]
        url = self._urls[waiting[0]]
        if is_private(self._exchange.url) and not is_private(url):
            raise TransferFailed("The deployment names a plain http address for the file; it is not sent there.")
        return url

    def _show(self) -> None:
        self._progress(Sent(min(sum(self._moved.values()), self._record["bytes"]), self._record["bytes"]))


def _reason(outcome: Answer | NotSent) -> str:
    if isinstance(outcome, NotSent):
        return f"no answer from S3: {outcome.reason}"
    return f"S3 answers {outcome.status} {s3_code(outcome.content)}".rstrip()


def s3_code(content: bytes) -> str:
    """The code in a refusal of S3; empty without one. Its other words may repeat the signature."""
    code = _S3_CODE.search(content)
    return code[1].decode() if code else ""
