"""Every parser of outside input raises only its documented errors, within a CPU limit that excludes quadratic time."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import boto3
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from moto import mock_aws
from msgspec import DecodeError

from elasticrecode import wire
from elasticrecode.access.callers import COGNITO_GROUPS, COGNITO_USER, of_claims
from elasticrecode.api import http, idempotency
from elasticrecode.batches.inputs import InputReader
from elasticrecode.batches.request import Batch, read_batch
from elasticrecode.batches.survey import Line, Survey
from elasticrecode.contract.settings import ApiSettings
from elasticrecode.drops import rules
from elasticrecode.errors import BadParameter, Invalid, Malformed, Unauthorized, Unreadable, UnreadableEvent
from elasticrecode.jobs import events
from elasticrecode.jobs.formats import FORMATS
from elasticrecode.jobs.job import Job, flaws
from elasticrecode.jobs.requests import RetryRequest, read_jobs, read_preset, read_vmaf
from elasticrecode.media.profiles import Profile
from elasticrecode.validation import Body, Reader
from elasticrecode.watch import subscription
from elasticrecode.watch.subscription import Cursor
from elasticrecode.webhooks import addresses
from elasticrecode.webhooks import request as webhooks
from elasticrecode.webhooks.request import WebhookRequest
from elasticrecode.webhooks.webhook import is_secret
from elasticrecode.workers import deployments
from tests.conftest import Tell, contract
from tests.fuzz.inputs import TEXTS, bodies, lines
from tests.sizes import SEED, sized
from worker.errors import PermanentError
from worker.media import video
from worker.media.progress import ProgressReader
from worker.quality import results

_INPUTS = sized(40, 150, 6000)
_SLOW_INPUTS = sized(15, 40, 600)
_CPU_SECONDS = 2.0
"""CPU seconds for one input. The largest have some 100,000 characters."""
_REFUSALS = (Malformed, Invalid)


class Target(NamedTuple):
    """A parser, the strategy for its inputs, and the errors that it may raise."""

    read: Callable[[Any], object]
    given: st.SearchStrategy[Any]
    raises: tuple[type[Exception], ...] = ()
    inputs: int = _INPUTS


_SCALED = contract("job")["profile"]
_BOTH = {"profile": {"ffmpeg": _SCALED["ffmpeg"], "vmaf": {"scale": "720p", "min": 90, "onFail": "fail"}}}
_LOCK = {"scheme": "cbcs", "keyUri": "https://keys.example/1", "keyId": "0" * 32}
_RUNGS = [
    {"scale": "720p", "bitrate": "2M", "maxBitrate": "3M"},
    {"scale": "416:234", "bitrate": "145K", "codec": "av1"},
]
_PACKAGES = [
    {"profile": {"package": {"ladder": _RUNGS, "encryption": _LOCK | {"key": "ab" * 16}}}},
    {"profile": {"package": {"ladder": "h265", "formats": ["hls"], "segmentSeconds": 4, "dynamicRange": "auto"}}},
    {"profile": {"package": {"encryption": _LOCK | {"secretId": "elasticrecode/u/film"}}, "audio": {"tracks": "all"}}},
]
_PACKAGED = [contract("job") | each for each in _PACKAGES]
_NAMED = contract("job") | {"profile": {"preset": "h264-720p"}}
_ORDER = {name: contract("job")[name] for name in ("userid", "output", "profile", "priority")}
_BATCHES = (
    _ORDER | {"inputs": contract("job_batch")["batchInputs"]},
    _ORDER | {"manifest": "s3://media/list.txt"},
    _ORDER | {"prefix": "s3://media/in/", "suffixes": [".mp4", ".mov"], "output": "s3://media/in/out/"},
)
_WEBHOOK = {"userID": "ann", "url": "https://example.com/a", "actions": ["JobFailed"], "secret": "whsec_" + "A" * 32}
_EVENT = contract("worker_event") | {
    "eventID": "e1",
    "tsMs": 1588730504123,
    "attempt": 1,
    "progress": {"percent": 1.0, "frame": 2, "fps": 3.0, "speed": 1.0, "etaSeconds": 4.0},
    "result": {"outputs": [{"uri": "s3://a/b", "bytes": 1}], "quality": {"vmaf": {"mean": 1.0}}},
    "error": {"code": "c", "message": "m", "log": ["l"]},
}
_DEPLOYMENT: dict[str, Any] = {
    "metadata": {
        "namespace": "media",
        "name": "worker",
        "annotations": {
            deployments.ANNOTATION_PREFIX + name: value
            for name, value in {
                "worker": "enable", "platform": "gpu", "priority": "67-100", "price-model": "spot", "weight": "0.5",
                "drain": "disable",
            }.items()
        },
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "env": [
                            {"name": name, "value": value}
                            for name, value in
                            {"CONTROL_PLANE": "control_plane", "QUEUE_NAME": "q", "WORKER_TYPE": "ffmpeg"}.items()
                        ]
                    }
                ]
            }
        },
    },
    "status": {"readyReplicas": 1},
}  # fmt: skip
_DROP = msgspec.convert(
    {
        "bucket": "media",
        "prefix": "in/",
        "suffixes": [],
        "userid": "ann",
        "output": "s3://media/out/",
        "profile": _SCALED,
    },
    rules.Drop,
)
_PUT = {
    "Records": [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "media"},
                "object": {"key": "in/a+b%20c.mp4", "size": 7, "versionId": "null", "sequencer": "1", "eTag": "e"},
            },
        }
    ]
}
_MATRIX = "\n00000000: 0 65536 0\n00000001: -65536 0 0\n00000002: 0 0 1\n"
_PROBED = {
    "streams": [
        {
            "index": 0, "codec_type": "video", "codec_name": "h264", "width": 640, "height": 360, "duration": "8.3",
            "nb_frames": "250", "avg_frame_rate": "30000/1001", "sample_aspect_ratio": "4:3", "pix_fmt": "yuv420p10le",
            "disposition": {"attached_pic": 0}, "bits_per_raw_sample": "8", "color_range": "tv",
            "side_data_list": [{"rotation": -90, "displaymatrix": _MATRIX}],
        }
    ],
    "format": {"format_name": "mov,mp4,m4a", "duration": "8.3", "bit_rate": "1000"},
}  # fmt: skip
_VMAF_LOG = {"version": "3", "frames": [{"frameNum": 0, "metrics": {"vmaf": 90.0, "integer_adm2": 0.9}}]}
_TOKENS = [
    {COGNITO_USER: "ann", COGNITO_GROUPS: ["operators"], "exp": 1},
    {COGNITO_USER: "ann", COGNITO_GROUPS: "[a operators]", "exp": "Mon May 06 21:23:32 UTC 2019"},
]


def _reader(kind: type[Any], formats: Any) -> Callable[[bytes], object]:
    reader: Reader[Any] = Reader(kind, formats)
    return lambda text: reader.read(Body(text))


def _batch(text: bytes) -> object:
    return read_batch(text, "b", 1)


def _preset(text: bytes) -> object:
    return read_preset(Body(text))


def _event(text: bytes) -> object:
    event = events.read(text)
    return event.position, msgspec.json.encode(event)


def _page(text: bytes) -> object:
    page = deployments.read_page(text)
    return [deployments.read_worker(each, "cluster", "control_plane") for each in page.deployments]


def _annotated(values: dict[str, str]) -> object:
    metadata = _DEPLOYMENT["metadata"] | {
        "annotations": {deployments.ANNOTATION_PREFIX + name: value for name, value in values.items()}
    }
    (deployment,) = deployments.read_page(
        msgspec.json.encode({"items": [_DEPLOYMENT | {"metadata": metadata}]})
    ).deployments
    return deployments.read_worker(deployment, "cluster", "control_plane")


def _put(text: str) -> object:
    return [_DROP.job(put) for put in rules.new_objects(text)]


def _queued(text: bytes) -> object:
    return flaws(wire.decode(text, Job))


def _surveyed(texts: list[str]) -> object:
    batch = Batch(batchID="b", userID="u", output="s3://media/out/", priority=0, profile=Profile(), createdMs=1)
    return list(Survey(batch).pages(Line(n, text) for n, text in enumerate(texts, 1)))


def _manifest(text: bytes) -> object:
    boto3.client("s3").put_object(Bucket="media", Key="list", Body=text)
    return list(InputReader().manifest_lines("s3://media/list"))


def _shown(text: str) -> object:
    return results.frame_times(text.split("\n"), 25.0)


def _probed(text: bytes) -> object:
    return video.parse_report(wire.decode(text, object))


def _progress(text: str) -> object:
    reader = ProgressReader(250, 8.3)
    return [msgspec.json.encode(reader.feed(line, n / 7)) for n, line in enumerate(text.split("\n"))]


def _scores(logs: tuple[bytes, str, str]) -> object:
    return results.parse_logs(*logs).mean("psnr")


def _address(text: str) -> object:
    target = addresses.parse(text)
    return addresses.is_public(target.host)


_listed = http.handler(
    {"GET /v1/jobs/{jobID}": lambda request: http.Response([*request.page()], headers=request.next_link("job"))},
    ApiSettings(),
)


def _listing(arguments: tuple[dict[str, str], dict[str, str], dict[str, list[str]]]) -> object:
    parameters, query, several = arguments
    answer = _listed(
        {
            "httpMethod": "GET", "resource": "/v1/jobs/{jobID}", "path": "/v1/jobs/x", "pathParameters": parameters,
            "queryStringParameters": query, "multiValueQueryStringParameters": several, "requestContext": {},
        },
        None,
    )  # fmt: skip
    assert answer["statusCode"] in (200, 400)
    return answer["headers"].get("Link", "").encode("ascii")


def _caller(text: bytes) -> object:
    return of_claims(wire.decode(text, dict[str, Any]), COGNITO_USER, COGNITO_GROUPS)


_NAMES = st.sampled_from(
    ["limit", "after", "userID", "jobID", "state", "lastMod", "actions", "pack", "batchID", "ticket"]
)
_QUERY = st.dictionaries(st.one_of(_NAMES, st.text(max_size=8)), TEXTS, max_size=5)
_URLS = st.one_of(
    TEXTS,
    st.builds(
        "{}://{}{}:{}/{}".format,
        st.sampled_from(["https", "http", "file", "HTTPS", ""]),
        st.sampled_from(["", "a@", "a:b@"]),
        st.one_of(
            TEXTS,
            st.ip_addresses().map(str),
            st.ip_addresses(v=6).map("[{}]".format),
            st.sampled_from(["[::ffff:1.2.3.4]", "[fe80::1%25eth0]", "[", "[::1", "0x7f.1"]),
        ),
        st.one_of(st.integers().map(str), TEXTS),
        TEXTS,
    ),
)
_URIS = st.lists(
    st.one_of(TEXTS, st.builds("s3://media/{}/{}".format, TEXTS, st.sampled_from(["a.mp4", "b.webm", "", ".."]))),
    max_size=12,
)
_MANIFESTS = st.one_of(
    st.binary(max_size=400),
    st.lists(
        st.one_of(TEXTS.map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=30)), max_size=8
    ).flatmap(lambda some: st.sampled_from([b"\n", b"\r\n", b"\r"]).map(lambda end: end.join(some))),
    st.just(b"x" * 3_000_000),
    st.just(b"\xef\xbb\xbf" + b"s3://media/a\n" * 1000),
)
_FEATURE_LOGS = st.tuples(
    bodies(_VMAF_LOG), lines(["n", "psnr_avg", "psnr_y", "mse_avg"]), lines(["n", "All", "Y", "U"])
)

TARGETS = {
    "POST jobs": Target(
        read_jobs,
        bodies(contract("job"), contract("job_batch"), _NAMED, *(contract("job") | each for each in _PACKAGES)),
        _REFUSALS,
    ),
    "POST vmaf": Target(
        read_vmaf, bodies(contract("vmaf"), contract("vmaf") | {"profile": {"preset": "vmaf-720p"}}), _REFUSALS
    ),
    "POST batches": Target(_batch, bodies(*_BATCHES), _REFUSALS),
    "POST jobs/retry": Target(_reader(RetryRequest, FORMATS), bodies({"userID": "ann", "batchID": "b"}), _REFUSALS),
    "POST webhooks": Target(_reader(WebhookRequest, webhooks.FORMATS), bodies(_WEBHOOK), _REFUSALS),
    "PUT presets": Target(_preset, bodies(_BOTH, {"profile": _SCALED}, *_PACKAGES), _REFUSALS),
    "path and query": Target(
        _listing,
        st.tuples(
            st.fixed_dictionaries({"jobID": TEXTS}),
            _QUERY,
            st.dictionaries(_NAMES, st.lists(TEXTS, max_size=3), max_size=2),
        ),
    ),
    "Idempotency-Key": Target(idempotency.checked, TEXTS, (BadParameter,)),
    "secret of a webhook": Target(is_secret, st.one_of(TEXTS, TEXTS.map("whsec_{}".format))),
    "URL of a webhook": Target(_address, _URLS, (ValueError,)),
    "claims of a token": Target(_caller, bodies(*_TOKENS), (Unauthorized, DecodeError)),
    "WebSocket parameters": Target(subscription.read, _QUERY, (BadParameter,)),
    "cursor": Target(Cursor.read, st.one_of(TEXTS, st.from_regex(r"\d{1,20}(\.\d{1,9})?")), (ValueError,)),
    "worker event": Target(_event, bodies(contract("worker_event"), _EVENT), (UnreadableEvent,)),
    "queued job": Target(
        _queued, bodies(*(contract("queue_message") | each for each in ({}, _BOTH, *_PACKAGES))), (DecodeError,)
    ),
    "inputs of a batch": Target(_surveyed, _URIS, (Unreadable,)),
    "manifest": Target(_manifest, _MANIFESTS, (Unreadable,), _SLOW_INPUTS),
    "Deployments": Target(_page, bodies({"items": [_DEPLOYMENT], "metadata": {"continue": "c"}}), (DecodeError,)),
    "annotations": Target(
        _annotated,
        st.dictionaries(
            st.sampled_from(["worker", "platform", "priority", "price-model", "weight", "drain"]),
            st.one_of(TEXTS, st.sampled_from(["enable", "1-2", "99999", "1e9", "NaN"])),
            max_size=6,
        ),
    ),
    "event of S3": Target(_put, bodies(_PUT).map(lambda text: text.decode(errors="replace")), (ValueError,)),
    "ffprobe's streams": Target(_probed, bodies(_PROBED), (PermanentError, DecodeError)),
    "times of frames": Target(_shown, lines(["frame:0    pts", "frame:1    pts:-40 pts_time", "frame", "e"])),
    "ffmpeg's progress": Target(_progress, lines(["frame", "fps", "progress", "out_time_ms"])),
    "logs of VMAF": Target(_scores, _FEATURE_LOGS, (ValueError,)),
}


@pytest.fixture(scope="module", autouse=True)
def media() -> Iterator[None]:
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="media")
        yield


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_raises_only_its_documented_errors(name: str, tell: Tell) -> None:
    counts: Counter[str] = Counter()
    target = TARGETS[name]

    @seed(SEED)
    @settings(
        max_examples=target.inputs,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )
    @given(target.given)
    def holds(text: Any) -> None:
        counts[name] += 1
        began = time.thread_time()
        with suppress(*target.raises):
            target.read(text)
        assert time.thread_time() - began < _CPU_SECONDS

    holds()
    tell("fuzz, inputs", counts)
