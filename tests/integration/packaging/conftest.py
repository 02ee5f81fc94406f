"""The distributions of this checkout, built once, and an environment that holds only the wheel.

Nothing is downloaded: setuptools is here, and the packages that pykvd needs are lent to the new
environment by a path file, which does not lend what is installed from a checkout.
"""

import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = Path(pytest.__file__).parents[1]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.{}(sys.argv[1]))"


def build(what: str, source: Path, out: Path) -> Path:
    """Have the backend make an sdist or a wheel of a source directory."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", BUILD.format(f"build_{what}"), str(out)],
        check=False,
        cwd=source,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, of what git knows and nothing that lies about."""
    home = tmp_path_factory.mktemp("sdist")
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, cwd=ROOT, capture_output=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (home / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / "source" / name)
    return build("sdist", home / "source", home / "out")


@pytest.fixture(scope="session")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution as an installer would."""
    home = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(home, filter="data")
    (source,) = home.iterdir()
    return build("wheel", source, home / "out")


@pytest.fixture(scope="session")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of programs of an environment with the wheel."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "--quiet"]
    offline = ["--no-index", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", *offline, str(wheel)], check=True)
    (site,) = (home / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(f"{PACKAGES}\n")
    return home / "bin"
