"""What `make dist` builds is whole, and runs where nothing else of the project is."""

import os
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pykvd
from pykvd.version import VERSION

ROOT = Path(__file__).resolve().parents[3]

SESSION = """
import asyncio, pathlib, sys
import pykvd, pykvctl

for package in (pykvd, pykvctl):
    assert pathlib.Path(package.__file__).is_relative_to(sys.prefix), package
with pykvd.serve() as server, server.client() as client, pykvd.Client(server.endpoint) as wire:
    client.put("k", "v")
    print(wire.get("k").value)

async def main():
    async with pykvd.Server(port=None) as server, server.client() as client:
        await client.put("k", "v")
        print((await client.get("k")).value)

asyncio.run(main())
"""

TEST = """
def test_of_an_application(pykvd_server, etcd_client):
    assert etcd_client.put("k", "v").revision == 2
"""


def run(*command: object, directory: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def package_files() -> set[str]:
    """What the packages hold in the checkout, as git knows it."""
    listed = run("git", "ls-files", "pykvd", "pykvctl", directory=ROOT).split()
    return {name for name in listed if (ROOT / name).is_file()}


def test_the_wheel_holds_the_packages_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if name.startswith(f"pykvd-{VERSION}.dist-info/")}
    assert names - metadata == package_files()
    assert "pykvd/py.typed" in names
    assert {name for name in names if name.endswith("_pb2.py")} == {
        name.removesuffix("i") for name in names if name.endswith("_pb2.pyi")
    }


def test_the_wheel_announces_commands_plugin_and_extras(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = f"pykvd-{VERSION}.dist-info"
        entry_points = archive.read(f"{info}/entry_points.txt").decode()
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
    assert "pykvd = pykvd.cli:main" in entry_points
    assert "pykvctl = pykvctl.cli:main" in entry_points
    assert "[pytest11]\npykvd = pykvd.testing.plugin" in entry_points
    assert metadata["Version"] == VERSION == pykvd.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])


def test_the_source_distribution_can_be_read(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() | {"README.md", "LICENSE", "pyproject.toml"} <= names


def test_programs_use_the_installed_package(programs: Path, tmp_path: Path) -> None:
    printed = run(programs / "python", "-W", "error", "-c", SESSION, directory=tmp_path)
    assert printed == "b'v'\nb'v'\n"


def test_commands_are_installed(programs: Path, tmp_path: Path) -> None:
    said = run(programs / "pykvd", "--version", directory=tmp_path)
    assert said.startswith(f"pykvd Version: {VERSION}\n")
    with pykvd.serve() as server:
        put = ("--endpoints", server.endpoint, "put", "k", "v")
        assert run(programs / "pykvctl", *put, directory=tmp_path) == "OK\n"


def test_pytest_finds_the_plugin(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "test_application.py").write_text(TEST)
    said = run(programs / "python", "-m", "pytest", "-q", tmp_path, directory=tmp_path)
    assert "1 passed" in said
