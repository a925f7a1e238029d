"""Surveys the inputs of a batch: turns lines into pages of inputs, with a fault for each line left out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct

from elasticrecode.access.prefixes import Prefixes
from elasticrecode.batches.request import Batch, output_folder
from elasticrecode.errors import Unreadable
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.uris import Outputs
from elasticrecode.media.rules import container_fault

JOBS_LIMIT = 1_000_000
"""Jobs in one batch."""
MANIFEST_BYTES = 512 * 1024 * 1024
"""Size limit of a manifest. A million lines fit unless they are longer than 536 bytes on average."""
LINE_BYTES = 64 * 1024

PAGE_JOBS = 1000
_PAGE_BYTES = 300_000
"""Size limit of a page's inputs before compression, so that a DynamoDB item always holds them."""
_MAX_FAULTS = 100
_QUOTED_LENGTH = 120
_HASH_BITS = 64
_HASH_MASK = (1 << _HASH_BITS) - 1


class Line(NamedTuple):
    """A possible input: its number, counted from 1, its text, and a fault, empty where none is known."""

    number: int
    text: str
    fault: str = ""


class LineFault(Struct, frozen=True):
    """An input that is left out: its line, counted from 1, and the reason."""

    line: int
    detail: str


class SurveyResult(Struct, kw_only=True):
    """The counts of a survey. `total` counts the inputs that become jobs, on `pages` pages.

    `faultCount` counts all lines left out, `faults` has the first 100 of them. `repeated` counts inputs that were
    named before.
    """

    total: int = 0
    pages: int = 0
    faults: list[LineFault] = []
    faultCount: int = 0
    repeated: int = 0


def check_permissions(batch: Batch, lines: Iterable[Line], prefixes: Prefixes) -> Iterator[Line]:
    """The lines, with a fault for each that names an object which the batch's user may not read."""
    is_object, _ = FORMATS["s3-object"]
    for line in lines:
        fault = "" if line.fault or not is_object(line.text) else prefixes.fault(batch.userID, "read", line.text)
        yield line._replace(fault=f"{_quoted(line.text)} {fault}") if fault else line


def is_selected(uri: str, suffixes: Sequence[str]) -> bool:
    """Whether an object under a prefix is an input: not a folder marker, and with one of the suffixes in any case."""
    return not uri.endswith("/") and (not suffixes or uri.lower().endswith(tuple(text.lower() for text in suffixes)))


class Page(NamedTuple):
    """A page of a batch: the position of its first input, and up to PAGE_JOBS inputs."""

    first: int
    inputs: list[str]


class Survey:
    """Cuts the inputs of a batch, up to a million, into pages.

    It remembers a hash of each output, to find two inputs whose outputs would overwrite each other.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._profile = msgspec.to_builtins(batch.profile)
        self._written = Outputs.of(batch.profile)
        self._outputs: dict[int, int] = {}
        self.result = SurveyResult()

    def pages(self, lines: Iterable[Line]) -> Iterator[tuple[int, Page]]:
        """Pages with their numbers, counted from 0, of the lines without fault; `result` is complete afterwards.

        Raises Unreadable when there are more than JOBS_LIMIT.
        """
        page: list[str] = []
        size = 0
        for number, uri, line_fault in lines:
            fault = line_fault or self._fault(number, uri)
            if fault:
                self._leave_out(number, fault)
                continue
            length = len(uri) if uri.isascii() else len(uri.encode())
            if page and (len(page) == PAGE_JOBS or size + length > _PAGE_BYTES):
                yield self._cut(page)
                page, size = [], 0
            page.append(uri)
            size += length
        if page:
            yield self._cut(page)

    def _leave_out(self, number: int, detail: str) -> None:
        self.result.faultCount += 1
        if len(self.result.faults) < _MAX_FAULTS:
            self.result.faults.append(LineFault(number, detail))

    def _cut(self, inputs: list[str]) -> tuple[int, Page]:
        number, first = self.result.pages, self.result.total
        self.result.pages += 1
        self.result.total += len(inputs)
        if self.result.total > JOBS_LIMIT:
            raise Unreadable(
                "too-many-inputs", f"The batch has more than {JOBS_LIMIT:,} inputs. Split it into several batches."
            )
        return number, Page(first, inputs)

    def _fault(self, number: int, uri: str) -> str:
        """Why a line can't become a job; empty where it can."""
        test, words = FORMATS["s3-object"]
        if not test(uri):
            return f"must be {words}, not {_quoted(uri)}"
        output = output_folder(self._batch.output, self._batch.prefix, uri)
        if not FORMATS["s3-prefix"][0](output):
            return f"its output would be {_quoted(output)}, which can't be a prefix"
        if fault := container_fault(self._profile, uri):
            return f"{fault}: {_quoted(uri)}"
        targets = [output + each for each in self._written.claims(uri)]
        if uri in targets:
            return f"its output would overwrite it: {_quoted(uri)}"
        if not self._written.fit(output, uri):
            return f"an output of it would have a key that S3 does not take: {_quoted(uri)}"
        # Two hashes in one number take the least memory. Python salts them for each process, so nobody can aim at a
        # collision.
        own = number << _HASH_BITS | hash(uri) & _HASH_MASK
        first = own
        for target in targets:
            first = self._outputs.setdefault(hash(target), own)
            if (first ^ own) & _HASH_MASK:
                line = first >> _HASH_BITS
                return f"its output would overwrite that of line {line}, which has the same name: {_quoted(uri)}"
        self.result.repeated += first != own
        return ""


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _QUOTED_LENGTH else f"{text[:_QUOTED_LENGTH]}…")
