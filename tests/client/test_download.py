"""Downloads: every file whole and below the folder, none in the place of another, what is there is not got again."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from elasticrecode_client import TransferFailed
from elasticrecode_client.downloading import Received, part_of, place
from tests.client.server import Reply, Server

FILM = "s3://films/out/film.mp4"


def finished(server: Server, job_id: str, **contents: bytes) -> Any:
    """The record of a job with these outputs, to which there are links. `film` is film.mp4."""
    files = {FILM if name == "film" else f"s3://films/out/{name}": content for name, content in contents.items()}
    outputs = []
    for number, (uri, content) in enumerate(files.items()):
        server.always[f"GET /s3/{job_id}/{number}"] = content
        outputs.append({"uri": uri, "bytes": len(content), "role": "file", "sha256": sha256(content).hexdigest()})
    links = [{"uri": uri, "url": f"{server.url}/s3/{job_id}/{number}"} for number, uri in enumerate(files)]
    server.always[f"GET /api/v1/jobs/{job_id}/links"] = {"expiresAt": 4e9, "links": links}
    record = {"jobID": job_id, "state": "finished", "attempt": 1, "output": "s3://films/out/", "outputs": outputs}
    server.always[f"GET /api/v1/jobs/{job_id}/status"] = record
    return record


def got(server: Server) -> list[str]:
    """The files that were read from S3."""
    return [one.path for one in server.seen if one.path.startswith("/s3/")]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("film.mp4", "film.mp4"),
        ("a/b//film.mp4", "a/b/film.mp4"),
        ("../../film.mp4", "film.mp4"),
        ("..", "output"),
        ("a/..", "output"),
        (".", "output"),
        ("", "output"),
        ("/etc/passwd", "etc/passwd"),
        ("..\\..\\film.mp4", ".._.._film.mp4"),
        ("a\x00b\x1b[2J\n", "a_b_[2J_"),
    ],
)
def test_no_key_leads_out_of_the_folder(key: str, expected: str) -> None:
    assert place(f"s3://films/out/{key}", "s3://films/out/") == expected


def test_all_files_come_and_come_once(client: Any, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film", **{"hls/1.m4s": b"segment", "empty.vtt": b""})
    seen: list[Received] = []
    paths = client.download("a", tmp_path / "new" / "out", progress=seen.append)
    assert [path.relative_to(tmp_path / "new" / "out").as_posix() for path in paths] == [
        "film.mp4", "hls/1.m4s", "empty.vtt"
    ]  # fmt: skip
    assert [path.read_bytes() for path in paths] == [b"film", b"segment", b""]
    assert {one.path: one.received for one in seen} == {path: path.stat().st_size for path in paths}
    assert len(got(server)) == 3
    seen.clear()
    assert client.download("a", tmp_path / "new" / "out", progress=seen.append) == paths
    assert len(got(server)) == 3
    assert seen == [Received(path, path.stat().st_size, path.stat().st_size) for path in paths]


def test_no_output_takes_the_place_of_another_file(client: Any, server: Server, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"original")
    finished(server, "a", film=b"encoded!")
    finished(server, "b", film=b"encoded again")
    for job, content in (("a", b"encoded!"), ("b", b"encoded again")):
        (path,) = client.download(job, tmp_path)
        assert (path, path.read_bytes()) == (tmp_path / job / "film.mp4", content)
    (tmp_path / "a" / "film.mp4").write_bytes(b"changed!")
    with pytest.raises(FileExistsError, match="is another file; move it away"):
        client.download("a", tmp_path)
    assert (film.read_bytes(), (tmp_path / "a" / "film.mp4").read_bytes()) == (b"original", b"changed!")


def test_a_file_in_place_of_a_folder_sends_all_files_to_a_folder_of_the_job(
    client: Any, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "hls").write_bytes(b"mine")
    finished(server, "a", film=b"film", **{"hls/1.m4s": b"segment"})
    paths = client.download("a", tmp_path)
    assert [path.relative_to(tmp_path / "a").as_posix() for path in paths] == ["film.mp4", "hls/1.m4s"]
    assert not (tmp_path / "film.mp4").exists()
    assert (tmp_path / "hls").read_bytes() == b"mine"


def test_an_output_without_a_sum_is_known_by_its_size(client: Any, server: Server, tmp_path: Path) -> None:
    del finished(server, "a", film=b"film")["outputs"][0]["sha256"]
    assert [client.download("a", tmp_path) for _ in range(3)] == [[tmp_path / "film.mp4"]] * 3
    assert len(got(server)) == 1


def test_a_file_that_appears_meanwhile_stays(client: Any, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film")

    def appears(_: Received) -> None:
        (tmp_path / "film.mp4").write_bytes(b"another")

    with pytest.raises(FileExistsError):
        client.download("a", tmp_path, progress=appears)
    assert (tmp_path / "film.mp4").read_bytes() == b"another"


def test_a_job_that_has_not_finished_has_no_files(client: Any, server: Server, tmp_path: Path) -> None:
    server.always["GET /api/v1/jobs/a/status"] = {"jobID": "a", "state": "running"}
    with pytest.raises(TransferFailed, match="a is running"):
        client.download("a", tmp_path)


def test_a_download_survives_breaks_with_new_links(client: Any, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film")
    server.replies["GET /s3/a/0"] = [Reply(broken=True), Reply(503, b""), Reply(403, b"")]
    (path,) = client.download("a", tmp_path)
    assert path.read_bytes() == b"film"
    assert len(server.requests("GET /api/v1/jobs/a/links")) == 4
    server.always.pop("GET /s3/a/0")
    path.unlink()
    with pytest.raises(TransferFailed, match=r"film\.mp4: S3 answers 404"):
        client.download("a", tmp_path)


def test_a_download_goes_on_with_its_own_part_alone(client: Any, server: Server, tmp_path: Path) -> None:
    record = finished(server, "a", film=b"film")
    finished(server, "b", film=b"FILM")
    path = tmp_path / "film.mp4"
    part_of(record, record["outputs"][0], path).write_bytes(b"fi")
    client.download("b", tmp_path)
    assert path.read_bytes() == b"FILM"
    path.unlink()
    server.replies["GET /s3/a/0"] = [Reply(206, b"lm")]
    client.download("a", tmp_path)
    assert path.read_bytes() == b"film"
    assert [one.headers.get("range") for one in server.seen if one.path.startswith("/s3/")] == [None, "bytes=2-"]
    assert list(tmp_path.glob(".*.part")) == []


def test_a_part_that_is_whole_needs_no_request(client: Any, server: Server, tmp_path: Path) -> None:
    record = finished(server, "a", film=b"film")
    part_of(record, record["outputs"][0], tmp_path / "film.mp4").write_bytes(b"film")
    (path,) = client.download("a", tmp_path)
    assert path.read_bytes() == b"film"
    assert got(server) == []


@pytest.mark.parametrize("content", [b"another film", b"FILM"], ids=["size", "content"])
def test_an_output_that_is_not_the_jobs_any_more_is_refused(
    client: Any, server: Server, tmp_path: Path, content: bytes
) -> None:
    finished(server, "a", film=b"film")
    server.always["GET /s3/a/0"] = content
    with pytest.raises(TransferFailed, match="changed meanwhile"):
        client.download("a", tmp_path)
    assert list(tmp_path.rglob("*film*")) == []


def test_files_beyond_the_first_links_have_links_too(client: Any, server: Server, tmp_path: Path) -> None:
    finished(server, "a", film=b"film", **{"hls/1.m4s": b"segment"})
    links = server.always["GET /api/v1/jobs/a/links"]
    server.always["POST /api/v1/jobs/a/links"] = {**links, "links": links["links"][1:]}
    server.always["GET /api/v1/jobs/a/links"] = {**links, "links": links["links"][:1]}
    assert [path.read_bytes() for path in client.download("a", tmp_path)] == [b"film", b"segment"]
    (wanted,) = server.requests("POST /api/v1/jobs/a/links")
    assert wanted.json == {"uris": ["s3://films/out/hls/1.m4s"]}


def test_links_are_in_no_log(client: Any, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    finished(server, "a", film=b"film")
    server.always["GET /api/v1/jobs/a/links"]["links"][0]["url"] += "?X-Amz-Signature=secret"
    caplog.set_level("DEBUG")
    client.download("a", tmp_path)
    assert "X-Amz-Signature" not in caplog.text


def test_files_of_a_package_that_are_no_outputs_come_too(client: Any, server: Server, tmp_path: Path) -> None:
    finished(server, "a", **{"f/master.m3u8": b"entry", "f/poster.jpg": b"poster", "f/v1/a.mp4": b"film"})
    others = {"f/v1/files.txt": b"a.mp4\na.m3u8\nsprite-1.jpg\n", "f/v1/a.m3u8": b"list", "f/v1/sprite-1.jpg": b"jpg"}
    for name, content in others.items():
        server.always[f"GET /s3/{name}"] = content

    def links(*names: str) -> Reply:
        urls = [{"uri": f"s3://films/out/{name}", "url": f"{server.url}/s3/{name}"} for name in names]
        return Reply(200, {"expiresAt": 4e9, "links": urls})

    pages = [links("f/v1/files.txt"), links("f/v1/a.m3u8", "f/v1/sprite-1.jpg")]
    server.replies["POST /api/v1/jobs/a/links"] = pages * 4
    seen: list[Received] = []
    paths = client.download("a", tmp_path, progress=seen.append)
    names = {"f/master.m3u8", "f/poster.jpg", "f/v1/a.mp4", *others}
    assert {path.relative_to(tmp_path).as_posix() for path in paths} == names
    assert all((tmp_path / name).read_bytes() == content for name, content in others.items())
    assert {one.path: one.received for one in seen} == {path: path.stat().st_size for path in paths}
    assert server.requests("POST /api/v1/jobs/a/links")[1].json == {
        "uris": ["s3://films/out/f/v1/a.m3u8", "s3://films/out/f/v1/sprite-1.jpg"]
    }
    assert client.download("a", tmp_path) == paths
    (tmp_path / "f/v1/a.m3u8").write_bytes(b"changed")
    with pytest.raises(FileExistsError):
        client.download("a", tmp_path)
    (tmp_path / "f/v1/a.m3u8").unlink()
    (tmp_path / "f/v1/a.m3u8").mkdir()
    with pytest.raises(FileExistsError, match="is another file; move it away"):
        client.download("a", tmp_path)
