"""Write docs/openapi.json and docs/asyncapi.json, for the default options. With --check, compare them."""

import sys

from infra.openapi.asset import documents
from infra.options import ROOT, Options


def main() -> None:
    """Write the documents. With --check, write nothing, and exit with status 1 where one is not current."""
    files = {ROOT / "docs" / name: content for name, content in documents(Options().auth, indent=2).items()}
    if "--check" not in sys.argv[1:]:
        for path, content in files.items():
            path.write_bytes(content)
    elif stale := [path.name for path, content in files.items() if not path.exists() or path.read_bytes() != content]:
        sys.exit(f"Not current in docs/: {', '.join(stale)}. Run: python -m infra.openapi")


if __name__ == "__main__":
    main()
