"""`commit_message.py FILE`: refuse a commit message with a long subject or without a body."""

import sys
from pathlib import Path

SUBJECT_LENGTH = 72
_GENERATED = ("Merge ", "Revert ", "fixup! ", "squash! ")


def faults(message: str) -> list[str]:
    """Sentences on what is wrong with a commit message; lines that begin with # are comments."""
    lines = [line.rstrip() for line in message.splitlines() if not line.startswith("#")]
    subject, *rest = "\n".join(lines).strip().split("\n")
    if subject.startswith(_GENERATED):
        return []
    faults = []
    if len(subject) > SUBJECT_LENGTH:
        faults.append(f"The subject has {len(subject)} characters; it may have {SUBJECT_LENGTH}.")
    if rest and rest[0]:
        faults.append("The second line must be empty: it separates the subject from the body.")
    if not any(rest):
        faults.append("The body is missing: say after an empty line why the change is made.")
    return faults


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]).read_text())) or 0)
