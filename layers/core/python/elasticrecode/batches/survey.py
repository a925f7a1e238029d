"""Looking through the inputs of a batch: lines in, pages of inputs out, a fault for each line left out."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec import Struct

from elasticrecode.access.prefixes import Prefixes
from elasticrecode.batches.request import Batch, folder
from elasticrecode.errors import Unreadable
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.uris import output_name, outputs_fit

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
_HASH_BITS = 64
_HASH_MASK = (1 << _HASH_BITS) - 1


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


def allowed(batch: Batch, lines: Iterable[Line], prefixes: Prefixes) -> Iterator[Line]:
    """Lines, with a fault those that name what the batch's user may not read."""
    is_object, _ = FORMATS["s3-object"]
    for line in lines:
        fault = "" if line.fault or not is_object(line.text) else prefixes.fault(batch.userID, "read", line.text)
        yield line._replace(fault=f"{_shown(line.text)} {fault}") if fault else line


def is_wanted(uri: str, suffixes: Sequence[str]) -> bool:
    """Whether an object is one of those that are looked for: no folder's marker, and called as asked, in any case."""
    return not uri.endswith("/") and (not suffixes or uri.lower().endswith(tuple(text.lower() for text in suffixes)))


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
        test, words = FORMATS["s3-object"]
        if not test(uri):
            return f"must be {words}, not {_shown(uri)}"
        output = folder(self._batch.output, self._batch.prefix, uri)
        if not FORMATS["s3-prefix"][0](output):
            return f"its output would be {_shown(output)}, which can be no prefix"
        target = output + output_name(uri)
        if target == uri:
            return f"its output would overwrite it: {_shown(uri)}"
        if not outputs_fit(output, uri, scored=bool(self._batch.profile.vmaf)):
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
