"""Replays the transcript of etcdctl with TLS: pykvctl prints the same of our server."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.pykvctl.conftest import GOLDEN_IDS, environment
from tests.integration.pykvctl.normalise import recorded, replayed
from tests.integration.pykvctl.runner import Runner
from tests.integration.pykvctl.transcript import Outcome, Step, outcome_of, read_transcript
from tests.integration.tls.processes import SecureServer, key_flags, secure

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.tls.conftest import Papers

#: Since 3.6 this flag is enough by itself, so that such steps succeed.
NOT_OURS = re.compile(r"--insecure-skip-tls-verify (?!--insecure-transport=false)")
#: After this step the server is started anew and asks for certificates.
LAST_WITHOUT_CERTIFICATES = "snapshot save"


def check(step: Step, server: SecureServer, folder: Path) -> None:
    """Run a step and compare."""
    command = step.command.replace("32379", str(server.client_port))
    if "etcdctl" in command:
        environ = environment(server)
        del environ["ETCDCTL_ENDPOINTS"]
        actual = Runner(folder, environ).run(command)
    else:
        done = subprocess.run(["bash", "-c", command], capture_output=True, cwd=folder, check=False)
        actual = outcome_of(done.stdout, done.stderr, done.returncode)
    port = str(server.client_port)
    golden = Outcome(
        [line.replace(port, "32379") for line in actual.stdout],
        [] if "2>" in command else [line.replace(port, "32379") for line in actual.stderr],
        actual.status,
    )
    got, expected = replayed(golden, step.command), recorded(step.outcome, step.command)
    assert got == expected, f"step {step.number}: {command}"


def test_transcript(papers: Papers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    for source, name in (
        (papers.ca.file, "ca.pem"),
        (papers.directory / "other.pem", "otherca.pem"),
        (papers.alice.cert, "client.pem"),
        (papers.alice.key, "client-key.pem"),
    ):
        (tmp_path / name).write_bytes(source.read_bytes())
    monkeypatch.chdir(tmp_path)
    steps = [step for step in read_transcript("24-tls.txt") if not NOT_OURS.search(step.command)]
    (last,) = (n for n, step in enumerate(steps) if LAST_WITHOUT_CERTIFICATES in step.command)
    with secure(*key_flags(papers.server), *GOLDEN_IDS, "--bcrypt-cost=4") as server:
        for step in steps[: last + 1]:
            check(step, server, tmp_path)
        server.stop()
        server.flags += ("--client-cert-auth", f"--trusted-ca-file={papers.ca.file}")
        server.start()
        for step in steps[last + 1 :]:
            check(step, server, tmp_path)
