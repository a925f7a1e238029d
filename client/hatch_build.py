"""Puts the scoring of workers into the package, as `elasticrecode_client/_scoring`: `elasticrecode compare` runs it."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WORKER = ("__init__.py", "errors.py", "host_faults.py", "settings.py", "media", "quality", "sandbox")
CORE = ("__init__.py", "errors.py", "ids.py", "wire.py", "media", "jobs/__init__.py", "jobs/events.py")
CORE_TOO = ("jobs/title_ladder.py", "jobs/uris.py")
SCORING = {
    **{f"worker/{name}": f"worker/{name}" for name in WORKER},
    **{f"layers/core/python/elasticrecode/{name}": f"elasticrecode/{name}" for name in (*CORE, *CORE_TOO)},
}
"""File or folder of the checkout → its place in `_scoring`: what `python -m worker.quality` imports."""


class CustomBuildHook(BuildHookInterface[Any]):
    """Adds the scoring where the package is built in its checkout, and to archives of its source."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add."""
        checkout = Path(self.root).parent
        inside = "src/elasticrecode_client" if self.target_name == "sdist" else "elasticrecode_client"
        if version != "editable" and (checkout / "worker").is_dir():
            places = {str(checkout / path): f"{inside}/_scoring/{place}" for path, place in SCORING.items()}
            build_data["force_include"] |= places
