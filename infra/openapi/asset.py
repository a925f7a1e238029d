"""The code of the function `schema`: its handler, and the document that it serves."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from elasticrecode.contract.auth import Kind
from infra.openapi.document import document, text
from infra.options import ROOT

_SOURCE = ROOT / "functions" / "schema"
_BUILT = ROOT / ".build" / "functions"


def schema_function(auth: Kind) -> Path:
    """A folder with the handler and the document for this option `auth`, written once. Its name is their hash."""
    content = text(document(auth))
    digest = hashlib.sha256((_SOURCE / "handler.py").read_bytes() + content).hexdigest()
    folder = _BUILT / f"schema-{digest[:32]}"
    if not folder.exists():
        _BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_BUILT) as unfinished:
            target = Path(unfinished, "schema")
            shutil.copytree(_SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
            (target / "openapi.json").write_bytes(content)
            try:
                os.rename(target, folder)  # noqa: PTH104
            except OSError:  # another synthesis was faster
                if not folder.exists():
                    raise
    return folder
