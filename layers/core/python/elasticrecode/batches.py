"""Batches of any size: what is asked for, the pages its inputs are cut into, and how it stands.

A batch names its inputs in one of three ways: in the request, in an object with one URI a line, or by a prefix that
they lie under. They are looked through once, before any job is made; then each page becomes jobs by itself.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple

from msgspec import UNSET, Meta, Struct, UnsetType

from elasticrecode import ids, jobs
from elasticrecode.errors import Fault, Unreadable
from elasticrecode.events import Failure
from elasticrecode.jobs import Job, ObjectURI, PrefixURI, Priority, UserID, end_alike, output_ends, output_name
from elasticrecode.lifecycle import ENDED, STATES
from elasticrecode.prefixes import EVERYWHERE, Prefixes
from elasticrecode.presets import BUILT_IN, Asked, Profiles
from elasticrecode.profiles import FfmpegProfile, Profile, resolve
from elasticrecode.strips import Change, Strip
from elasticrecode.validation import Body, Reader

INPUTS_LIMIT = 10_000
"""Inputs that a request may list itself."""
SUFFIXES_LIMIT = 50
JOBS_LIMIT = 1_000_000
"""Jobs in one batch."""
MANIFEST_BYTES = 512 * 1024 * 1024
"""Of a manifest: a million of the longest lines there are would be more, but nobody has them."""
LINE_BYTES = 64 * 1024

PAGE_JOBS = 1000
_PAGE_BYTES = 300_000
"""Of a page's inputs before they are compressed, so that an item can always hold them."""
_SHOWN_FAULTS = 100
_SHOWN = 120
_SHORTEST_RATE_MS = 30_000
_HASH_BITS = 64
_HASH_MASK = (1 << _HASH_BITS) - 1
_SAMPLES = 12
_SAMPLE_MS = 10_000
"""How often it is noted how many jobs have ended."""

BatchState = Literal["expanding", "running", "finished", "cancelled", "failed"]
Inputs = Annotated[list[ObjectURI], Meta(min_length=1, max_length=INPUTS_LIMIT)]
Suffix = Annotated[str, Meta(extra_json_schema={"format": "suffix"})]
FolderURI = Annotated[str, Meta(extra_json_schema={"format": "s3-folder"})]


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Many transcodes with one profile into one output prefix."""

    userid: UserID
    output: PrefixURI
    profile: FfmpegProfile
    priority: Priority = 0
    inputs: Inputs | UnsetType = UNSET
    batchInputs: Inputs | UnsetType = UNSET
    manifest: ObjectURI | UnsetType = UNSET
    prefix: FolderURI | UnsetType = UNSET
    suffixes: Annotated[list[Suffix], Meta(min_length=1, max_length=SUFFIXES_LIMIT)] | UnsetType = UNSET


class Batch(Struct, frozen=True, kw_only=True):
    """A batch as it was asked for, its profile resolved. `listed` says how many inputs its request held."""

    batchID: str
    userID: str
    output: str
    priority: int
    profile: Profile
    manifest: str = ""
    prefix: str = ""
    suffixes: tuple[str, ...] = ()
    listed: int = 0
    createdMs: int

    def job(self, position: int, uri: str) -> Job:
        """The job of one of its inputs."""
        return Job(
            userid=self.userID,
            jobid=ids.job_id(self.batchID, position),
            input=uri,
            output=folder(self.output, self.prefix, uri),
            priority=self.priority,
            profile=self.profile,
        )


class Line(NamedTuple):
    """What may be an input: where it stands, counted from 1, its text, and what is wrong with that already."""

    number: int
    text: str
    fault: str = ""


class LineFault(Struct, frozen=True):
    """An input that is left out: where it stands, counted from 1, and why."""

    line: int
    detail: str


class Findings(Struct, kw_only=True):
    """What looking through the inputs has brought. `faults` are the first; `faultCount` counts all."""

    total: int = 0
    pages: int = 0
    faults: list[LineFault] = []
    faultCount: int = 0
    repeated: int = 0


class Sample(NamedTuple):
    """How many jobs had ended by a time, in milliseconds."""

    at_ms: int
    ended: int


class Standing(Struct, kw_only=True):
    """How far a batch is.

    `run` names the look through its inputs that counts, and `found` what it brought. Of its pages `settled` have been
    made jobs, or will not be; `unmade` are the inputs that a cancellation came before. Times are in milliseconds.
    `round` counts how often all of its jobs have ended, and `moves` are those they had made when they last had.
    """

    batch: Batch
    run: str = ""
    found: Findings | None = None
    settled: int = 0
    unmade: int = 0
    cancelledMs: int | None = None
    endedMs: int | None = None
    failure: Failure | None = None
    round: int = 0
    moves: int = 0
    samples: tuple[Sample, ...] = ()

    @property
    def total(self) -> int | None:
        """How many jobs there are or will be; None while that is not known."""
        if self.found:
            return self.found.total - self.unmade
        return 0 if self.failure or self.cancelledMs else None

    @property
    def is_expanded(self) -> bool:
        """Whether no more jobs will be made."""
        return bool(self.failure) or (self.settled == self.found.pages if self.found else bool(self.cancelledMs))

    @property
    def state(self) -> BatchState:
        """The state, as it is shown."""
        if self.failure:
            return "failed"
        if self.cancelledMs:
            return "cancelled"
        if self.endedMs:
            return "finished"
        return "running" if self.is_expanded else "expanding"


class BatchProgress(Struct):
    """Percent of the jobs that have ended; how many end a second, lately; seconds that the rest will take by that."""

    percent: float
    jobsPerSecond: float | None = None
    etaSeconds: float | None = None


class BatchTaken(Struct):
    """A batch that was taken in; how many jobs it has is not known before its inputs were looked through."""

    batchID: str
    userID: str
    state: BatchState = "expanding"
    total: int | None = None


class BatchRecord(Struct, kw_only=True):
    """A batch, as GET /v1/batches/{batchID} answers it. Times are Unix seconds; what has nothing to say is null."""

    batchID: str
    userID: str
    state: BatchState
    total: int | None
    accepted: int
    queued: int
    running: int
    finished: int
    failed: int
    cancelled: int
    progress: BatchProgress
    failures: dict[str, int]
    manifest: str | None
    prefix: str | None
    suffixes: tuple[str, ...] | None
    output: str
    priority: int
    profile: Profile
    createdAt: float
    endedAt: float | None
    faultCount: int
    faults: list[LineFault]
    warnings: list[str]
    error: Failure | None


_SUFFIX = re.compile(r"[^/\x00-\x1f]{1,64}")
FORMATS = jobs.FORMATS | {
    "s3-folder": (jobs.FORMATS["s3-prefix"][0], "an s3://bucket/prefix/ URI that ends in '/'"),
    "suffix": (lambda text: _SUFFIX.fullmatch(text) is not None, "1 to 64 characters that names end with, without '/'"),
}


@cache
def _reader() -> Reader[BatchRequest]:
    """Made when a request is read, which few of those that import this ever do."""
    return Reader(BatchRequest, FORMATS)


SOURCES = ("inputs", "batchInputs", "manifest", "prefix")


class Order(NamedTuple):
    """A batch, and the inputs that its request lists."""

    batch: Batch
    listed: list[str]


def read_batch(
    text: bytes, batch_id: str, now_ms: int, presets: Profiles = BUILT_IN, prefixes: Prefixes = EVERYWHERE
) -> Order:
    """What a POST /v1/batches body asks for. Malformed or Invalid."""
    limits = {"inputs": INPUTS_LIMIT, "batchInputs": INPUTS_LIMIT}
    body = Asked(text, presets, limits, "; list more in a manifest")
    places = jobs.place_faults(body, _places(body), prefixes)
    asked = _reader().read(body, [*jobs.profile_faults(body), *_source_faults(body), *places])
    listed = asked.inputs or asked.batchInputs or []
    batch = Batch(
        batchID=batch_id,
        userID=asked.userid,
        output=asked.output,
        priority=asked.priority,
        profile=resolve(asked.profile),
        manifest=asked.manifest or "",
        prefix=asked.prefix or "",
        suffixes=tuple(asked.suffixes or ()),
        listed=len(listed),
        createdMs=now_ms,
    )
    return Order(batch, listed)


def _places(body: Body) -> Iterator[tuple[str, object]]:
    """What a request names to be read, each with its pointer."""
    for name in SOURCES:
        given = body.fields.get(name)
        if isinstance(given, list):
            yield from ((f"/{name}/{n}", uri) for n, uri in enumerate(given))
        else:
            yield f"/{name}", given


def _source_faults(body: Body) -> Iterator[Fault]:
    """Not one source, or one whose outputs would overwrite an input, one another, or be inputs themselves."""
    given = [name for name in SOURCES if name in body.fields]
    if len(given) != 1:
        said = f"not {' and '.join(given)}" if given else "none is given"
        yield Fault("", f"must have one of inputs, manifest and prefix, {said}")
    for name in ("inputs", "batchInputs"):
        listed = body.fields.get(name)
        if isinstance(listed, list):
            yield from jobs.output_faults(body, ((f"/{name}/{n}", uri) for n, uri in enumerate(listed)))
    prefix, output, suffixes = (body.fields.get(name) for name in ("prefix", "output", "suffixes"))
    if suffixes is not None and prefix is None:
        yield Fault("/suffixes", "goes with prefix only")
    is_suffix = FORMATS["suffix"][0]
    listed = suffixes[:SUFFIXES_LIMIT] if isinstance(suffixes, list) else ()
    chosen = [text for text in listed if isinstance(text, str) and is_suffix(text)]
    if isinstance(prefix, str) and isinstance(output, str) and loops(prefix, chosen, output):
        yield Fault("/output", "lies under prefix, where the outputs would be inputs of the next batch: choose another")


def allowed(batch: Batch, lines: Iterable[Line], prefixes: Prefixes) -> Iterator[Line]:
    """Lines, with a fault those that name what the batch's user may not read."""
    is_object, _ = jobs.FORMATS["s3-object"]
    for line in lines:
        fault = "" if line.fault or not is_object(line.text) else prefixes.fault(batch.userID, "read", line.text)
        yield line._replace(fault=f"{_shown(line.text)} {fault}") if fault else line


def loops(prefix: str, suffixes: Sequence[str], output: str) -> bool:
    """Whether what is written to an output prefix would be found under an input prefix."""
    made = [end.lower() for suffix in suffixes for end in output_ends(suffix)]
    return output.startswith(prefix) and (
        not suffixes or any(end_alike(end, suffix.lower()) for end in made for suffix in suffixes)
    )


def is_wanted(uri: str, suffixes: Sequence[str]) -> bool:
    """Whether an object is one of those that are looked for: no folder's marker, and called as asked, in any case."""
    return not uri.endswith("/") and (not suffixes or uri.lower().endswith(tuple(text.lower() for text in suffixes)))


def folder(output: str, prefix: str, uri: str) -> str:
    """Where the output of an input goes: the folders that it lies in below the prefix are kept."""
    below = uri.removeprefix(prefix) if prefix else ""
    return output + below[: below.rfind("/") + 1]


class Page(NamedTuple):
    """A page of a batch: the position of its first input, and the inputs."""

    first: int
    inputs: list[str]


class Survey:
    """Looks through the inputs of a batch, which may be a million, and cuts them into pages.

    Of each it is remembered what its output is called, to find two that would overwrite each other.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._outputs: dict[int, int] = {}
        self.found = Findings()

    def pages(self, lines: Iterable[Line]) -> Iterator[tuple[int, Page]]:
        """Pages, numbered, of the lines that can be inputs. Unreadable where they are more than a batch may have."""
        page: list[str] = []
        size = 0
        for number, uri, fault in lines:
            wrong = fault or self._fault(number, uri)
            if wrong:
                self._reject(number, wrong)
                continue
            length = len(uri) if uri.isascii() else len(uri.encode())
            if page and (len(page) == PAGE_JOBS or size + length > _PAGE_BYTES):
                yield self._cut(page)
                page, size = [], 0
            page.append(uri)
            size += length
        if page:
            yield self._cut(page)

    def _reject(self, number: int, detail: str) -> None:
        """Note a line that is left out."""
        self.found.faultCount += 1
        if len(self.found.faults) < _SHOWN_FAULTS:
            self.found.faults.append(LineFault(number, detail))

    def _cut(self, inputs: list[str]) -> tuple[int, Page]:
        number, first = self.found.pages, self.found.total
        self.found.pages += 1
        self.found.total += len(inputs)
        if self.found.total > JOBS_LIMIT:
            raise Unreadable("too-many-inputs", f"They are more than {JOBS_LIMIT:,}. Make several batches of them.")
        return number, Page(first, inputs)

    def _fault(self, number: int, uri: str) -> str:
        test, words = jobs.FORMATS["s3-object"]
        if not test(uri):
            return f"must be {words}, not {_shown(uri)}"
        output = folder(self._batch.output, self._batch.prefix, uri)
        if not jobs.FORMATS["s3-prefix"][0](output):
            return f"its output would be {_shown(output)}, which can be no prefix"
        target = output + output_name(uri)
        if target == uri:
            return f"its output would overwrite it: {_shown(uri)}"
        if not jobs.fits(output, uri, scored=bool(self._batch.profile.vmaf)):
            return f"what is made of it would have a key that S3 does not take: {_shown(uri)}"
        # Hashes in one number take the least memory. Python's differ from run to run, so nobody can aim at them.
        own = number << _HASH_BITS | hash(uri) & _HASH_MASK
        first = self._outputs.setdefault(hash(target), own)
        if (first ^ own) & _HASH_MASK:
            line = first >> _HASH_BITS
            return f"its output would overwrite that of line {line}, which would be called the same: {_shown(uri)}"
        self.found.repeated += first != own
        return ""


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


class Counts(NamedTuple):
    """What the strips of a batch come to; `moves` are those of all jobs together, which never get fewer."""

    states: Mapping[str, int]
    failures: Mapping[str, int]
    moves: int

    @property
    def ended(self) -> int:
        """How many jobs have ended."""
        return sum(self.states[state] for state in ENDED)


def counted(strips: Iterable[Strip]) -> Counts:
    """The jobs of all strips together."""
    states: dict[str, int] = dict.fromkeys(STATES, 0)
    failures: Counter[str] = Counter()
    moves = 0
    for strip in strips:
        for state, count in strip.counts().items():
            states[state] += count
        failures += strip.failures()
        moves += strip.moves
    return Counts(states, dict(failures.most_common()), moves)


def has_ended(standing: Standing, counts: Counts) -> bool:
    """Whether there is no job left that may still end, or be made."""
    return standing.is_expanded and counts.ended == standing.total


def is_sample_due(standing: Standing, now_ms: int) -> bool:
    """Whether it is to be noted how many jobs have ended."""
    return not standing.endedMs and (not standing.samples or now_ms >= standing.samples[-1].at_ms + _SAMPLE_MS)


def sampled(standing: Standing, counts: Counts, now_ms: int) -> tuple[Sample, ...]:
    """The latest samples, with one of now."""
    return (*standing.samples[1 - _SAMPLES :], Sample(now_ms, counts.ended))


def progress(standing: Standing, counts: Counts, now_ms: int) -> BatchProgress:
    """How far a batch is, and how fast it has been since the oldest sample."""
    if standing.endedMs or not standing.total:
        return BatchProgress(100.0 if standing.endedMs else 0.0)
    done = BatchProgress(round(100 * counts.ended / standing.total, 1))
    since = next(iter(standing.samples), None)
    if since and now_ms - since.at_ms >= _SHORTEST_RATE_MS and counts.ended > since.ended:
        rate = (counts.ended - since.ended) * 1000 / (now_ms - since.at_ms)
        done.jobsPerSecond = round(rate, 3)
        done.etaSeconds = round((standing.total - counts.ended) / rate, 1)
    return done


def record(standing: Standing, counts: Counts, now_ms: int) -> BatchRecord:
    """How a batch stands, for its user."""
    batch, found = standing.batch, standing.found or Findings()
    return BatchRecord(
        batchID=batch.batchID,
        userID=batch.userID,
        state=standing.state,
        total=standing.total,
        **counts.states,
        progress=progress(standing, counts, now_ms),
        failures=dict(counts.failures),
        manifest=batch.manifest or None,
        prefix=batch.prefix or None,
        suffixes=batch.suffixes or None,
        output=batch.output,
        priority=batch.priority,
        profile=batch.profile,
        createdAt=batch.createdMs / 1000,
        endedAt=standing.endedMs / 1000 if standing.endedMs else None,
        faultCount=found.faultCount,
        faults=found.faults,
        warnings=list(_warnings(standing, found)),
        error=standing.failure,
    )


def _warnings(standing: Standing, found: Findings) -> Iterator[str]:
    if found.repeated:
        yield f"{_many(found.repeated, 'input')} named again: each is a job all the same"
    if found.faultCount:
        yield f"{_many(found.faultCount, 'line')} left out: faults says why, of the first {len(found.faults)}"
    if standing.unmade:
        yield f"{_many(standing.unmade, 'input')} without a job: the batch was cancelled before"


def _many(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def summary(standing: Standing, counts: Counts) -> dict[str, Any]:
    """What BatchFinished says of a batch."""
    said: dict[str, Any] = {"state": standing.state, "total": standing.total, **counts.states}
    return said | {"failures": dict(counts.failures)} if counts.failures else said


class Search(Struct):
    """A message to `survey`: look through the inputs of a batch."""

    batchID: str


class Task(Struct):
    """A message to `expand`: make jobs of a page, cancel those of a page, or those of all pages."""

    batchID: str
    do: Literal["make", "sweep", "cancel"]
    run: str = ""
    page: int = 0


def tasks(standing: Standing, do: Literal["make", "sweep"]) -> list[Task]:
    """What is to be done with each page of a batch."""
    pages = standing.found.pages if standing.found else 0
    return [Task(standing.batch.batchID, do, standing.run, n) for n in range(pages)]


class Tally(Struct):
    """A message to `tally`: changes of a batch's jobs, none of them where only its end is to be looked for."""

    batchID: str
    changes: list[Change] = []
