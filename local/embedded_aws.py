"""`python -m local.embedded_aws`: start the embedded AWS on the state it left.

It keeps how far each function has read a table's stream, but not the stream, which begins anew with every start. A
position from before would pass over everything that comes after, so positions are taken out first.
"""

import json
import os
import sys
from pathlib import Path

from local.place import TOOLS


def forget_stream_positions(state: Path) -> None:
    """Let the functions read the streams from their beginning."""
    kept = state / "lambda.json"
    if not kept.exists():
        return
    content = json.loads(kept.read_text())
    content["payload"]["dynamodb_stream_positions"]["data"] = {}
    written = kept.with_suffix(".new")
    written.write_text(json.dumps(content))
    written.replace(kept)


if __name__ == "__main__":
    forget_stream_positions(Path(os.environ["STATE_DIR"]))
    program = str(TOOLS / "aws" / "bin" / "ministack")
    # Functions run with this environment; they must find what their layers hold and nothing else.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    os.execve(program, [program, *sys.argv[1:]], environment)
