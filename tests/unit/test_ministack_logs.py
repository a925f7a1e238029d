"""Logs of the embedded Lambda: each line with its own invocation, and no wait where there is none."""

from functools import cache
from typing import Any

from tests.support import in_the_embedded_aws

INVOCATIONS = """
import io, json, sys, time, zipfile

from ministack.core import lambda_runtime

if sys.argv[1] == "patched":
    sys.path.insert(0, sys.argv[-1])
    import ministack_logs

FUNCTION = '''
import os, sys

def handler(event, context):
    for number in range(event.get("lines", 0)):
        print(f"{event['lines']} {number} \\u00e9" + event.get("long", 0) * "x", file=sys.stderr)
    if "begun" in event:
        sys.stderr.write(event["begun"])
        sys.stderr.flush()
    if event.get("dies"):
        os._exit(1)
'''
slept = []
lambda_runtime.time = type("Time", (), {**vars(time), "sleep": staticmethod(slept.append)})
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w") as code:
    code.writestr("function.py", FUNCTION)
config = {"Runtime": "python3.13", "Handler": "function.handler", "FunctionName": "f", "Timeout": 60,
          "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f"}
worker = lambda_runtime.Worker("f", config, packed.getvalue())


def log(**event):
    answer = worker.invoke(event, "id")
    return answer["log"].splitlines()


found = {"first": log(), "waits": 0}
slept.clear()
found["none"] = [line for _ in range(50) for line in log()]
found["waits"] = len(slept)
found["whole"] = [log(lines=lines) == [f"{lines} {number} \\u00e9" for number in range(lines)] for lines in range(100)]
found["more than a pipe holds"] = len(log(lines=100, long=10_000))
found["begun"] = [log(begun="one"), log(begun=" line\\n"), log()]
found["dying"] = log(lines=2, dies=True)
found["anew"] = log(lines=1)
worker.kill()
print(json.dumps(found))
"""


@cache
def found(kind: str) -> dict[str, Any]:
    """What invocations of one function logged, with ministack `plain` or `patched`."""
    return in_the_embedded_aws(INVOCATIONS, kind)


def test_an_invocation_that_logs_nothing_waits_for_nothing() -> None:
    assert found("plain")["waits"] > 50
    assert found("patched")["waits"] == 0
    assert found("patched")["none"] == []


def test_each_line_is_in_the_log_of_its_own_invocation() -> None:
    assert found("patched")["whole"] == [True] * 100
    assert found("patched")["more than a pipe holds"] == 100


def test_what_a_function_logs_before_its_process_ends_is_kept() -> None:
    assert found("patched")["dying"] == ["2 0 é", "2 1 é"]
    assert found("patched")["anew"] == ["1 0 é"]


def test_a_line_is_logged_when_it_ends() -> None:
    assert found("patched")["begun"] == [[], ["one line"], []]
