"""The code of the function `schema`: its handler, and the documents that it serves."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from elasticrecode.contract.auth import Kind
from infra.asyncapi import document as asyncapi
from infra.openapi.document import document, text
from infra.options import ROOT

_SOURCE = ROOT / "functions" / "schema"
_BUILT = ROOT / ".build" / "functions"


def documents(auth: Kind, indent: int | None = None) -> dict[str, bytes]:
    """The documents for this option `auth`, by file name."""
    return {
        "openapi.json": text(document(auth), indent=indent),
        "asyncapi.json": text(asyncapi.document(auth), indent=indent),
    }


def schema_function(auth: Kind) -> Path:
    """A folder with the handler and the documents for this option `auth`, written once. Its name is their hash."""
    files = documents(auth)
    digest = hashlib.sha256((_SOURCE / "handler.py").read_bytes() + b"".join(files.values())).hexdigest()
    folder = _BUILT / f"schema-{digest[:32]}"
    if not folder.exists():
        _BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_BUILT) as unfinished:
            target = Path(unfinished, "schema")
            shutil.copytree(_SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
            for name, content in files.items():
                (target / name).write_bytes(content)
            try:
                os.rename(target, folder)  # noqa: PTH104
            except OSError:  # another synthesis was faster
                if not folder.exists():
                    raise
    return folder
