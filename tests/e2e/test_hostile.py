"""A few of the nasty files of tests/hostile on the deployed stack."""

import json
from pathlib import Path

from tests.e2e.conftest import Deployed, certified, wait_for
from tests.hostile import corpus
from tests.hostile.conftest import Lure
from tests.hostile.corpus import Maker, Traps


def test_hostile_files_end_with_their_codes_and_the_worker_goes_on(deployed: Deployed, tmp_path: Path) -> None:
    lure, make = Lure(), Maker(tmp_path)
    canary = tmp_path / "canary.mp4"
    canary.write_bytes(make.mp4())
    traps = Traps(canary, lure.url)
    files = {
        "input-not-video": corpus.playlists(traps)["hls.mp4"],
        "input-corrupt": corpus.references(make, traps)["alias.mov"],
        "input-too-many-pixels": corpus.huge(make)["square.mkv"],
        "input-too-long": corpus.endless(make)["stts.mp4"],
        "input-too-many-streams": corpus.many_streams(make)["many.mkv"],
    }
    pids = deployed.supervisor.pids()
    jobs = {}
    for code, content in files.items():
        path = tmp_path / code
        path.write_bytes(content)
        jobs[code] = deployed.submit(deployed.put(path, f"hostile/{code}.mp4"), "hostile-out/")
    for code, job_id in jobs.items():
        record = deployed.until(job_id, "failed", "finished")
        assert (record["state"], record["error"]["code"]) == ("failed", code)
        assert str(deployed.place.scratch) not in json.dumps(record)
        assert record["attempt"] == 1
    assert deployed.keys("hostile-out/") == []
    name = "-i $(touch x) `id` ünïcødé.mp4"
    fine = deployed.submit(deployed.put(canary, f"hostile/{name}"), "hostile-fine/")
    assert deployed.until(fine, "finished", "failed")["state"] == "finished"
    assert deployed.keys("hostile-fine/") == certified(f"hostile-fine/{name}")
    assert deployed.supervisor.pids() == pids
    wait_for(lambda: not list(deployed.place.scratch.iterdir()), "the removal of the last job's files")
    assert lure.connections == 0
    lure.close()


def test_the_worker_logs_the_sandbox_of_its_programs(deployed: Deployed) -> None:
    assert "programs that read users' files are" in deployed.supervisor.log("worker-ffmpeg-0").read_text()
