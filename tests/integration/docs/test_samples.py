"""Every sample of the documentation does what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pykvd
from tests.integration.docs.samples import PAGES, ROOT, commands, files, program, samples

TIMEOUT_S = 60.0
#: How a sample that needs a server says where it is.
DEFAULT_ENDPOINT = re.compile(r"\b(127\.0\.0\.1|localhost):2379\b")
#: The plugin by name: what is run from a checkout announces no entry points.
PYTEST = ("-m", "pytest", "-q", "-p", "no:pykvd", "-p", "pykvd.testing.plugin", "-W", "error")
NO_ASYNCIO = ("-p", "no:asyncio", "-p", "no:cacheprovider")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run(
    command: list[str], directory: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        check=False,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture
def server() -> Iterator[pykvd.BackgroundServer]:
    with pykvd.serve() as server:
        yield server


@pytest.mark.parametrize("page", [page for page in PAGES if program(page)], ids=name)
def test_programs_run(page: Path, tmp_path: Path, server: pykvd.BackgroundServer) -> None:
    script = tmp_path / f"{page.stem}.py"
    script.write_text(DEFAULT_ENDPOINT.sub(server.endpoint, program(page)))
    done = run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if files(page)], ids=name)
def test_files_pass(page: Path, tmp_path: Path) -> None:
    for title, text in files(page).items():
        (tmp_path / title).write_text(text)
    tests = sorted(tmp_path.glob("test_*.py"))
    assert tests
    for test in tests:  # each in a process of its own: aetcd and pyetcd do not bear each other
        done = run([sys.executable, *PYTEST, *NO_ASYNCIO, str(test)], tmp_path)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_print_what_is_shown(
    page: Path, tmp_path: Path, server: pykvd.BackgroundServer
) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands(page):
        done = run(
            ["bash", "-c", command.words],
            tmp_path,
            PATH=path,
            ETCDCTL_ENDPOINTS=server.endpoint,
        )
        expected = re.escape(command.output).replace(re.escape("...\n"), "(?s:.*)")
        assert re.fullmatch(expected, done.stdout), (command.words, done.stdout, done.stderr)


def test_samples_are_found() -> None:
    """A fence that the collector does not understand would be a sample that nobody runs."""
    for page in PAGES:
        fences = re.findall(r"^ *```python", page.read_text(), re.MULTILINE)
        assert len(fences) == sum(each.language == "python" for each in samples(page)), page
    assert sum(map(bool, map(program, PAGES))) >= 5


def test_the_site_builds(tmp_path: Path) -> None:
    """As `make docs`: every link leads somewhere, every name in the reference exists."""
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = run(command, ROOT, NO_MKDOCS_2_WARNING="1")
    assert done.returncode == 0, done.stderr
    assert "serve_cluster" in (tmp_path / "reference" / "embedding.html").read_text()


def test_types_of_samples(tmp_path: Path) -> None:
    """`mypy --strict` passes on what readers copy."""
    for page in PAGES:
        if program(page):
            (tmp_path / f"page_{page.stem.replace('-', '_')}.py").write_text(program(page))
        for title, text in files(page).items():
            (tmp_path / title).write_text(text)
    done = run(
        [
            *(sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports"),
            *("--config-file", os.devnull, "--cache-dir", str(ROOT / ".mypy_cache" / "samples")),
            *(str(tmp_path), "--follow-imports", "silent"),
        ],
        tmp_path,
        MYPYPATH=str(ROOT),
    )
    assert done.returncode == 0, done.stdout + done.stderr
