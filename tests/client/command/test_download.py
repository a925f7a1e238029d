"""Downloads: every file whole and below the folder, none in the place of another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elasticrecode_client import TransferFailed
from elasticrecode_client.command.download import Downloads, part_of, place
from elasticrecode_client.command.session import Session
from tests.client.server import Reply, Server


def finished(server: Server, job_id: str, content: bytes, uri: str = "s3://films/out/film.mp4") -> Any:
    """The record of a job with one output, to which there is a link."""
    link = {"uri": uri, "url": f"{server.url}/s3/{job_id[-1]}/file", "role": "file"}
    server.always[f"GET /api/v1/jobs/{job_id}/links"] = {"expiresAt": 4e9, "links": [link]}
    server.always[f"GET /s3/{job_id[-1]}/file"] = content
    outputs = [{"uri": uri, "bytes": len(content), "role": "file"}]
    return {"jobID": job_id, "attempt": 1, "output": "s3://films/out/", "outputs": outputs}


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with Session(server.url) as opened:
        yield opened


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


def test_no_output_takes_the_place_of_an_input_or_of_another_output(
    session: Session, server: Server, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"original")
    downloads = Downloads(session, tmp_path, [film])
    (first,) = downloads.get(finished(server, "a", b"encoded"))
    (second,) = downloads.get(finished(server, "../b", b"encoded again"))
    assert film.read_bytes() == b"original"
    assert (first, first.read_bytes()) == (tmp_path / "a" / "film.mp4", b"encoded")
    assert (second, second.read_bytes()) == (tmp_path / "b" / "film.mp4", b"encoded again")


def test_a_later_command_replaces_what_an_earlier_one_got(session: Session, server: Server, tmp_path: Path) -> None:
    for job_id, content in (("a", b"one"), ("b", b"two")):
        (path,) = Downloads(session, tmp_path).get(finished(server, job_id, content))
        assert (path, path.read_bytes()) == (tmp_path / "film.mp4", content)


def test_a_download_survives_breaks_with_new_links(session: Session, server: Server, tmp_path: Path) -> None:
    record = finished(server, "a", b"film")
    server.replies["GET /s3/a/file"] = [Reply(broken=True), Reply(503, b""), Reply(403, b"")]
    (path,) = Downloads(session, tmp_path).get(record)
    assert path.read_bytes() == b"film"
    assert len(server.requests("GET /api/v1/jobs/a/links")) == 4
    server.always.pop("GET /s3/a/file")
    with pytest.raises(TransferFailed, match=r"film\.mp4: S3 answers 404"):
        Downloads(session, tmp_path).get(record)


def test_a_download_goes_on_with_its_own_part_alone(session: Session, server: Server, tmp_path: Path) -> None:
    record, other = finished(server, "a", b"film"), finished(server, "b", b"FILM")
    path = tmp_path / "film.mp4"
    part_of(record, record["outputs"][0], path).write_bytes(b"fi")
    Downloads(session, tmp_path).get(other)
    assert path.read_bytes() == b"FILM"
    server.replies["GET /s3/a/file"] = [Reply(206, b"lm")]
    Downloads(session, tmp_path).get(record)
    assert path.read_bytes() == b"film"
    assert [one.headers.get("range") for one in server.seen if one.path.startswith("/s3/")] == [None, "bytes=2-"]
    assert list(tmp_path.glob(".*")) == []


def test_a_part_that_is_whole_needs_no_request(session: Session, server: Server, tmp_path: Path) -> None:
    record = finished(server, "a", b"film")
    part_of(record, record["outputs"][0], tmp_path / "film.mp4").write_bytes(b"film")
    (path,) = Downloads(session, tmp_path).get(record)
    assert path.read_bytes() == b"film"
    assert server.requests("GET /s3/a/file") == []


def test_an_output_of_another_size_is_refused(session: Session, server: Server, tmp_path: Path) -> None:
    record = finished(server, "a", b"film")
    server.always["GET /s3/a/file"] = b"another film"
    with pytest.raises(TransferFailed, match="changed meanwhile"):
        Downloads(session, tmp_path).get(record)
    assert not (tmp_path / "film.mp4").exists()
