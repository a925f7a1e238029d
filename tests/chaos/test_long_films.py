"""Long films with workers that die and freeze anywhere: none is lost or doubled, and none differs.

Real workers encode chunks of tiny films and join them. Their plan of blows is drawn from SEED, over all stages of the
work: opening, planning, a chunk, its delivery, the sound, the join, publishing, cleaning up.
"""

import errno
import hashlib
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from moto import mock_aws

from elasticrecode.ids import is_part
from local.place import TOOLS
from tests.aws.test_publication import cancel, record, submitted
from tests.chaos.fleet import STAGES, Blow, Fleet, acting, one_client, parts_of
from tests.conftest import Tell
from tests.e2e.conftest import STALL_SECONDS
from tests.fakes.multipart import answer_as_s3
from tests.fakes.stack import Stack
from tests.fakes.turns import answer_in_turn, call_in_turn
from tests.sizes import SEED, sized
from worker import loop, parts
from worker.chunks import ChunkEncoder
from worker.cuts import objects
from worker.holding import Encoded

STACKS, FILMS = sized(1, 10, 10), sized(4, 10, 10)
"""Stacks, and films on each. The simulated AWS copies all that it holds in each transaction, and would slow down."""
SECONDS = 5
SUFFIXES = ("mp4", "mkv", "ts")
ENCODE = {"codec": "h264", "scale": "source", "quality": {"crf": 23}, "keyframeSeconds": 1, "speed": "fast"}
FFMPEG, FFPROBE = str(TOOLS / "bin" / "ffmpeg"), str(TOOLS / "bin" / "ffprobe")
_NEAR = 24.0
"""The most mean difference of 8-bit luma between a picture and itself, encoded twice."""


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stack]:
    """A fresh stack with a bucket for parts, over which workers poll without waiting."""
    answer_in_turn(monkeypatch)
    call_in_turn(monkeypatch)
    answer_as_s3(monkeypatch)
    monkeypatch.setattr(loop, "_POLL_SECONDS", 0)
    monkeypatch.setattr(loop, "_FIRST_DELAY_SECONDS", 1)
    monkeypatch.setattr(loop, "_SHORT_DELAY_SECONDS", 1)
    monkeypatch.setattr(parts, "_POLL_SECONDS", 0.3)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with mock_aws():
        one_client(monkeypatch)
        stack = Stack()
        stack.s3.create_bucket(Bucket="parts")
        yield stack


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A film with sound in each container."""
    folder = tmp_path_factory.mktemp("films")
    files = {}
    for suffix in SUFFIXES:
        path = folder / f"film.{suffix}"
        command = [FFMPEG, "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc=size=64x36:rate=25:duration={SECONDS}"]
        command += ["-f", "lavfi", "-i", f"sine=frequency=330:duration={SECONDS}", "-c:v", "libx264", "-g", "20"]
        command += ["-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "64k", str(path)]
        subprocess.run(command, check=True)
        files[suffix] = path.read_bytes()
    return files


class Shown(NamedTuple):
    """What a file holds: its pictures by time, their digest, and the packets of its sound."""

    times: list[str]
    pictures: list[bytes]
    sound: str

    @property
    def digest(self) -> str:
        """Of times, pictures and sound."""
        whole = [*self.times, self.sound, *(hashlib.md5(each).hexdigest() for each in self.pictures)]
        return hashlib.sha256("\n".join(whole).encode()).hexdigest()


def shown(content: bytes, folder: Path) -> Shown:
    """What a file holds, decoded."""
    path = folder / "shown"
    path.write_bytes(content)
    raw = [FFMPEG, "-v", "error", "-i", str(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    luma = subprocess.run([*raw[:-1], "-pix_fmt", "gray", "-"], check=True, capture_output=True).stdout
    probe = [FFPROBE, "-v", "error", "-of", "csv=p=0"]
    times = (
        subprocess.run(
            [*probe, "-select_streams", "v:0", "-show_entries", "frame=pts", path],
            check=True,
            capture_output=True,
            text=True,
        )
        .stdout.replace(",", "")
        .split()
    )
    sound = subprocess.run(
        [*probe, "-select_streams", "a", "-show_data_hash", "md5", "-show_entries", "packet=pts,dts,data_hash", path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    size = 64 * 36
    assert len(luma) == size * len(times)
    assert sound.count("\n") > 100
    return Shown(times, [luma[n : n + size] for n in range(0, len(luma), size)], sound)


def film_of(stack: Stack, films: dict[str, bytes], suffix: str, name: str, **profile: Any) -> str:
    """A submitted job of a film of its own."""
    stack.s3.put_object(Bucket="media", Key=f"in/{name}/film.{suffix}", Body=films[suffix])
    uri, output = f"s3://media/in/{name}/film.{suffix}", f"s3://media/out/{name}/"
    return submitted(stack, uri, output=output, profile={"ffmpeg": ENCODE, "reuse": False, **profile})


def outputs(stack: Stack, name: str) -> dict[str, bytes]:
    """The objects of a job's outputs, by their names, but for its certificate, which tells times and workers."""
    listed = stack.s3.list_objects_v2(Bucket="media", Prefix=f"out/{name}/").get("Contents", ())
    keys = [each["Key"] for each in listed if ".certificate." not in each["Key"]]
    return {key: stack.s3.get_object(Bucket="media", Key=key)["Body"].read() for key in keys}


def left(stack: Stack) -> list[str]:
    """The objects in the bucket for parts."""
    return [each["Key"] for each in stack.s3.list_objects_v2(Bucket="parts").get("Contents", ())]


def uploads_left(stack: Stack) -> list[str]:
    """The uploads that were neither completed nor aborted."""
    return [
        each["Key"]
        for bucket in ("media", "parts")
        for each in stack.s3.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    ]


def difference(one: bytes, other: bytes) -> float:
    """The mean difference of two pictures."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


class Reference(NamedTuple):
    """The calm run of a film: its digest, the number of its chunks, and its events by stage."""

    digest: str
    chunks: int
    events: Counter[str]


def reference(fleet: Fleet, films: dict[str, bytes], suffix: str, folder: Path) -> Reference:
    """Encode a film divided, with nothing in the way, and compare it with the undivided run."""
    stack = fleet.stack
    whole = film_of(stack, films, suffix, f"whole-{suffix}", split="never")
    fleet.until_ended([whole])
    assert record(stack, whole)["state"] == "finished", record(stack, whole)
    assert not fleet.begun or fleet.begun[-1][1] != whole
    fleet.events.clear()
    job_id = film_of(stack, films, suffix, f"calm-{suffix}")
    fleet.until_ended([job_id])
    events = Counter({stage: count for stage, count in fleet.events.items() if stage in STAGES})
    assert record(stack, job_id)["state"] == "finished", record(stack, job_id)
    (undivided,), (divided,) = outputs(stack, f"whole-{suffix}").values(), outputs(stack, f"calm-{suffix}").values()
    before, after = shown(undivided, folder), shown(divided, folder)
    assert len(before.times) >= SECONDS * 25 - 1
    assert after.times == before.times
    assert after.sound == before.sound
    differences = [difference(one, other) for one, other in zip(before.pictures, after.pictures, strict=True)]
    assert max(differences) < _NEAR, max(differences)
    division = record(stack, job_id)["division"]
    assert (division["kind"], division["parts"] >= SECONDS) == ("chunk", True), division
    return Reference(after.digest, len(parts_of(stack, job_id)), events)


def planned(rng: random.Random, events: Counter[str]) -> list[Blow]:
    """One or two blows at any events of a film; at most two, as three strikes fail a job."""
    blows = []
    for stage in rng.sample(STAGES, rng.choice((1, 2, 2))):
        kind: Literal["killed", "frozen"] = "frozen" if rng.random() < 0.25 else "killed"
        blows.append(Blow(stage, rng.randint(1, max(1, events[stage])), kind, after=rng.random() < 0.5))
    return blows


@pytest.fixture(scope="module")
def calm() -> dict[str, Reference]:
    """The calm run of the film in each container, once there was one."""
    return {}


@pytest.mark.alone
@pytest.mark.timeout(sized(600, 900, 900))
@pytest.mark.parametrize("number", range(STACKS))
def test_films_whose_workers_die_anywhere_are_those_of_an_undisturbed_fleet(
    number: int,
    stack: Stack,
    films: dict[str, bytes],
    calm: dict[str, Reference],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Tell,
) -> None:
    fleet, rng = Fleet(stack, monkeypatch), random.Random(SEED + number)
    counts, wrong = Counter[str](), list[Any]()
    for n in range(FILMS):
        suffix, name = SUFFIXES[n % len(SUFFIXES)], f"film-{n}"
        if suffix not in calm:
            calm[suffix] = reference(fleet, films, suffix, tmp_path)
        struck = len(fleet.struck)
        fleet.events.clear()
        fleet.blows = plan = planned(rng, calm[suffix].events)
        story = [*plan]
        job_id = film_of(stack, films, suffix, name)
        fleet.until_ended([job_id])
        fleet.blows = []
        blows = fleet.struck[struck:]
        counts["films"] += 1
        counts.update(f"{blow.kind} in {blow.stage}" for _, blow in blows)
        faults = judge(fleet, job_id, name, calm[suffix], {pod for pod, _ in blows}, tmp_path)
        counts.update(faults.keys())
        if faults:
            wrong.append((n, suffix, story, faults))
        counts["chunks"] += calm[suffix].chunks
        counts["chunks begun"] += sum(1 for _, job, _ in fleet.begun if job == job_id)
    counts["blows"] = len(fleet.struck)
    counts["uploads left by the dead"] = len(uploads_left(stack))
    tell(f"long films, stack {number}", counts)
    killed = sum(1 for _, blow in fleet.struck if blow.kind == "killed")
    assert not wrong, "\n".join(map(str, wrong))
    assert counts["uploads left by the dead"] <= killed


def judge(fleet: Fleet, job_id: str, name: str, calm: Reference, struck: set[str], folder: Path) -> dict[str, Any]:
    """What is wrong with a film: it is lost, doubled or different, or something of it is left."""
    stack, faults = fleet.stack, dict[str, Any]()
    state = record(stack, job_id)
    if state["state"] != "finished":
        return {"lost": (state["state"], state.get("error"))}
    files = list(outputs(stack, name).values())
    if len(files) != 1:
        faults["doubled"] = list(outputs(stack, name))
    elif shown(files[0], folder).digest != calm.digest:
        faults["different"] = True
    if rest := [key for key in left(stack) if key.startswith(job_id)]:
        faults["left"] = rest
    begun = [(pod, number) for pod, job, number in fleet.begun if job == job_id]
    delivered = [(pod, number) for pod, job, number in fleet.delivered if job == job_id]
    numbers = Counter(number for _, number in delivered)
    twice = {number: count for number, count in numbers.items() if count > 1}
    wasted = [each for each in begun if each not in delivered and each[0] not in struck]
    again = [each for each, count in Counter(begun).items() if count > 1 and each[0] not in struck]
    if twice or wasted or again:
        faults["encoded again without a reason"] = (begun, delivered, struck)
    return faults


_STOPPED_SECONDS = 10
"""Within so long all workers have let a cancelled film go."""


def assert_each_chunk_once(fleet: Fleet, job_id: str, name: str, folder: Path) -> None:
    """A film is finished with all of its pictures, each chunk was delivered once, and nothing else of it is left."""
    found = record(fleet.stack, job_id)
    assert found["state"] == "finished", found
    (file,) = outputs(fleet.stack, name).values()
    assert len(shown(file, folder).times) == SECONDS * 25
    delivered = [number for _, job, number in fleet.delivered if job == job_id]
    assert sorted(delivered) == list(range(found["division"]["parts"]))
    assert left(fleet.stack) == []


def assert_nothing_left(stack: Stack, name: str) -> None:
    """Neither outputs nor results nor uploads of a film are there."""
    assert (outputs(stack, name), left(stack), uploads_left(stack)) == ({}, [], [])


def test_a_chunk_that_fails_three_times_fails_the_job_and_names_its_place(
    stack: Stack, films: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(stack, monkeypatch)

    def fail(_: str, number: int) -> None:
        if number == 2:
            raise ValueError("a fault of the encoder")

    fleet.at_chunk = fail
    job_id = film_of(stack, films, "mp4", "poisoned")
    fleet.until_ended([job_id])
    found = record(stack, job_id)
    assert (found["state"], found["error"]["code"]) == ("failed", "attempts-exhausted")
    assert "Part 00:00:02-00:00:03: " in found["error"]["message"]
    assert "The worker itself failed: ValueError." in found["error"]["message"]
    tries = Counter(number for _, _, number in fleet.begun)
    assert 3 <= tries[2] <= 5  # three by helpers, or by holders, of whom each counts for itself
    assert (outputs(stack, "poisoned"), uploads_left(stack)) == ({}, [])
    assert all(key.startswith(f"{job_id}/") for key in left(stack))  # the rule of the bucket removes those


def test_a_helper_with_a_full_disk_costs_its_chunk_alone(
    stack: Stack, films: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, write = Fleet(stack, monkeypatch), objects._write
    encode, full, refused = ChunkEncoder._encode, list[str](), list[str]()

    def begin(encoder: ChunkEncoder, number: int) -> Encoded:
        if is_part(encoder.job.jobid) and not full:
            full.append(encoder.settings.pod)
        return encode(encoder, number)

    def fill(*arguments: Any) -> None:
        if acting() in full and not refused:
            refused.append(acting())
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*arguments)

    monkeypatch.setattr(ChunkEncoder, "_encode", begin)
    monkeypatch.setattr(objects, "_write", fill)
    job_id = film_of(stack, films, "mkv", "full")
    fleet.until_ended([job_id])
    assert refused == full
    assert len(full) == 1
    assert_each_chunk_once(fleet, job_id, "full", tmp_path)
    tries = Counter(number for _, _, number in fleet.begun)
    assert sorted(tries.values()) == [1] * (len(tries) - 1) + [2]
    assert record(stack, job_id)["attempt"] == 1


def test_a_source_that_is_replaced_while_it_is_encoded_fails_the_job(
    stack: Stack, films: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "_SMALL", 0)  # films as small as this one are read at once, whole
    fleet = Fleet(stack, monkeypatch)

    def replace(_: str, number: int) -> None:
        stack.s3.put_object(Bucket="media", Key="in/replaced/film.mp4", Body=films["mkv"])

    fleet.at_chunk = replace
    job_id = film_of(stack, films, "mp4", "replaced")
    fleet.until_ended([job_id])
    found = record(stack, job_id)
    assert (found["state"], found["error"]["code"]) == ("failed", "input-replaced"), found
    assert fleet.delivered == []
    assert_nothing_left(stack, "replaced")


def test_a_cancelled_film_stops_on_all_workers_and_its_results_are_removed(
    stack: Stack, films: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(stack, monkeypatch)
    cancelled: list[float] = []
    before: list[str] = []

    def stop(_: str, number: int) -> None:
        if fleet.delivered and not cancelled:
            cancelled.append(time.monotonic())
            before.extend(left(stack))
            assert cancel(stack, job_id).status == 202

    fleet.at_chunk = stop
    job_id = film_of(stack, films, "ts", "cancelled")
    fleet.until_ended([job_id])
    took = time.monotonic() - cancelled[0]
    assert any("cut-" not in key and not key.endswith("plan.json") for key in before)
    assert record(stack, job_id)["state"] == "cancelled"
    assert took < _STOPPED_SECONDS + STALL_SECONDS
    states = {part["state"]["S"] for part in parts_of(stack, job_id)}
    assert states <= {"cancelled", "finished"}
    assert_nothing_left(stack, "cancelled")


@pytest.mark.parametrize(
    ("stage", "n", "after"),
    [
        ("claiming", 1, False),
        ("claiming", 1, True),
        ("planning", 1, True),  # the first recipe is stored
        ("planning", 6, True),  # the plan is, no part
        ("planning", 7, True),  # the parts are, and nobody has any
    ],
)
def test_a_worker_that_dies_while_it_claims_or_plans_leaves_the_film_to_another(
    stack: Stack,
    films: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    n: int,
    after: bool,
) -> None:
    fleet = Fleet(stack, monkeypatch)
    fleet.blows = [Blow(stage, n, "killed", after=after)]
    job_id = film_of(stack, films, "mp4", "planned")
    fleet.until_ended([job_id])
    assert [blow.stage for _, blow in fleet.struck] == [stage]
    assert_each_chunk_once(fleet, job_id, "planned", tmp_path)
