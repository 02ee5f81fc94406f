"""The pytest plugin, run as its users run it."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

#: Named here rather than found as an entry point, which only an installed package has.
PLUGIN = ("-p", "no:pykvd", "-p", "pykvd.testing.plugin", "-p", "no:asyncio")


def run(pytester: pytest.Pytester, source: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess(*PLUGIN, "-W", "error", *options)


def test_each_test_gets_a_server_of_its_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        SEEN = []

        @pytest.mark.parametrize("round", range(3))
        def test_fresh(pykvd_server, etcd_client, round):
            assert etcd_client.get("k") is None
            assert etcd_client.put("k", "v").revision == 2
            assert pykvd_server.client().get("k").value == b"v"
            assert pykvd_server.config.data_dir not in SEEN
            SEEN.append(pykvd_server.config.data_dir)
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_cluster_with_its_faults(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.pykvd(members=3, max_txn_ops=7)
        def test_faults(pykvd_cluster):
            assert [each.config.max_txn_ops for each in pykvd_cluster] == [7, 7, 7]
            with pykvd_cluster.client() as client:
                client.put("k", "1")
                leader = pykvd_cluster.leader()
                leader.pause()
                pykvd_cluster.leader().client().put("k", "2")
                leader.resume()
                pykvd_cluster.leader().kill()
                pykvd_cluster.leader()
                pykvd_cluster.heal()
                pykvd_cluster.partition(pykvd_cluster.members[:2])
                pykvd_cluster.leader()
                pykvd_cluster.heal()
                pykvd_cluster[0].restart()
                assert client.get("k").value == b"2"

        @pytest.mark.pykvd(members=1)
        class TestSmall:
            def test_one(self, pykvd_cluster):
                assert len(pykvd_cluster) == 1

            @pytest.mark.pykvd(members=2)
            def test_nearest_marker_wins(self, pykvd_cluster):
                assert len(pykvd_cluster) == 2
        """,
        "--strict-markers",
    )
    result.assert_outcomes(passed=3)


def test_flags_for_a_server(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.pykvd(quota_backend_bytes=1 << 20)
        def test_flag(pykvd_server):
            assert pykvd_server.config.quota_backend_bytes == 1 << 20

        @pytest.mark.pykvd(quota=1)
        def test_wrong_flag(pykvd_server):
            pass
        """,
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*unexpected keyword argument 'quota'*"])


FAILING = """
    def test_fails(etcd_client):
        etcd_client.put("k", "v")
        assert not "this one"

    def test_passes(etcd_client):
        etcd_client.put("k", "v")
"""


def test_the_data_of_failed_tests_is_kept_where_asked(pytester: pytest.Pytester) -> None:
    kept = pytester.path / "kept"
    for expected in (1, 2):
        result = run(pytester, FAILING, f"--pykvd-keep-data={kept}")
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines([f"data kept in {kept}/*test_fails*"])
        assert len(list(kept.iterdir())) == expected
    assert all((path / "member" / "wal").is_dir() for path in kept.iterdir())


def test_nothing_is_kept_by_default(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(pytester.path / "temporary"))
    result = run(pytester, FAILING)
    result.assert_outcomes(passed=1, failed=1)
    assert list((pytester.path / "temporary").iterdir()) == []


def test_help_names_the_option_and_the_fixtures(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--help")
    result.stdout.fnmatch_lines(["*--pykvd-keep-data=DIR*"])
    result = pytester.runpytest_inprocess(*PLUGIN, "--fixtures")
    result.stdout.fnmatch_lines(["pykvd_server*", "pykvd_cluster*", "etcd_client*"])


def test_runs_that_do_not_use_it_load_no_server() -> None:
    program = "import sys, pykvd.testing.plugin; print(*(m for m in sys.modules if 'pykvd' in m))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True
    )
    loaded = {name for name in done.stdout.split() if not name.startswith("__editable__")}
    assert loaded == {"pykvd", "pykvd.testing", "pykvd.testing.plugin"}


def test_the_package_announces_the_plugin() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"pykvd": "pykvd.testing.plugin"}
