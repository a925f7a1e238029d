"""Finds subtitles in objects beside the input, and brings them into the job's folder as UTF-8.

A side file is named `<stem>.<language>[.forced|.sdh].srt|vtt|ass`. Workers may not list buckets, so they look only for
the languages that the profile names.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path

from elasticrecode.jobs.events import Notice
from elasticrecode.jobs.job import Job
from elasticrecode.jobs.uris import MARK
from worker.job_role import side_prefix
from worker.media import languages
from worker.media.subtitles import SideFile
from worker.sandbox.runner import Runner
from worker.storage import Storage

MOST_BYTES = 8 << 20
_LANGUAGES = 10
_FORMATS = {"srt": "srt", "vtt": "webvtt", "ass": "ass"}
_MARKS = {"": (False, False), ".forced": (True, False), ".sdh": (False, True)}
_BYTE_ORDERS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def find_side_files(job: Job, storage: Storage, folder: Path, runner: Runner) -> tuple[list[SideFile], list[Notice]]:
    """The side files of a job's input, and warnings of those that cannot be used. Raises as `Storage.download`.

    They are read once into a folder, so that all that a job does with them is about the same texts.
    """
    if str(folder) not in storage.sides:
        storage.sides[str(folder)] = _find(job, storage, folder, runner)
    files, notices = storage.sides[str(folder)]
    return list(files), list(notices)


def _find(job: Job, storage: Storage, folder: Path, runner: Runner) -> tuple[list[SideFile], list[Notice]]:
    files, notices = list[SideFile](), list[Notice]()
    for name, tag, mark, extension in _names(job):
        runner.check()
        uri, target = side_prefix(job) + name, folder / f"side-{len(files)}"
        size, body = storage.read_small(uri, MOST_BYTES, MARK)
        if size > MOST_BYTES:
            message = f"{uri} has {size} bytes; a side file of subtitles has at most {MOST_BYTES}. It is left out."
            notices.append(Notice("subtitles-left-out", message))
        elif body:
            text, charset = decoded(body)
            if charset == "cp1252":
                message = f"{uri} is not UTF-8, and is read as Windows-1252. Store it as UTF-8."
                notices.append(Notice("subtitles-charset-guessed", message))
            target.write_text(text, encoding="utf-8", newline="\n")
            files.append(SideFile(target.name, _FORMATS[extension], languages.short(tag), uri, *_MARKS[mark]))
    return files, notices


def _tags(job: Job) -> list[str]:
    subtitles = job.profile.subtitles
    if not subtitles:
        return []
    listed = subtitles.tracks if isinstance(subtitles.tracks, list) else []
    return list(dict.fromkeys([*listed, *([subtitles.burn] if subtitles.burn else [])]))[:_LANGUAGES]


def _names(job: Job) -> Iterator[tuple[str, str, str, str]]:
    """What the names of side files add to the input's stem, with their language, mark and extension."""
    spellings = dict[str, str]()
    for tag in _tags(job):
        for language in (tag, languages.short(tag), languages.three_letters(tag)):
            spellings.setdefault(language, tag)
    for language, tag in spellings.items():
        for mark in _MARKS:
            for extension in _FORMATS:
                yield f"{language}{mark}.{extension}", tag, mark, extension


def decoded(body: bytes) -> tuple[str, str]:
    """The text of a side file and its character set: by its byte order mark, else UTF-8, else Windows-1252."""
    charset = next((name for mark, name in _BYTE_ORDERS.items() if body.startswith(mark)), "utf-8")
    try:
        return body.decode(charset).replace("\r\n", "\n").replace("\0", ""), charset
    except UnicodeDecodeError:
        return body.decode("cp1252", errors="replace").replace("\r\n", "\n").replace("\0", ""), "cp1252"
