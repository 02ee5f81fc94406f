"""etcdutl's commands: on files and directories, without a server and never beside one."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pykvd.mvcc.environment import Environment, latest
from pykvd.mvcc.record import FRESH, MAIN_SHIFT, encode_key_value
from pykvd.node.storage import APPLIED, APPLIED_KEY
from pykvd.wal.record import HEADER_BYTES, MAGIC, MAGIC_OFFSET
from tests.harness import PYKVD, Server, running
from tests.integration.pykvctl.conftest import environment
from tests.integration.pykvctl.runner import run_cli
from tests.integration.pykvctl.test_snapshot import comparable, message
from tests.integration.pykvctl.transcript import Outcome, outcome_of, read_transcript

#: Steps of the transcript that are not replayed, and why.
NOT_OURS = {
    r"^etcdutl version": "tells its own version",
    r"^find |^etcdutl (check|backup)": "gone in 3.6",
    r"snapshot save": "saves here: in test_snapshot.py",
    r"restore backup\.db$": "3.6 has a default for --data-dir",
    r"etcdutl defrag$": "defragments the member behind --endpoints here",
    r"etcdutl (hashkv|migrate)": "3.5 does not have it",
}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with some history, whose member has stopped."""
    home = tmp_path_factory.mktemp("stopped")
    server = Server(PYKVD, home)
    try:
        server.start()
        environ = environment(server)
        for words in ("put foo bar", "put foo baz", "put abc 123", "del abc", "put foo qux"):
            assert run_cli(words.split(), environ)[2] == 0
        lease = run_cli(["lease", "grant", "1000"], environ)[0].split()[1].decode()
        assert run_cli(["put", "leased", "x", "--lease", lease], environ)[2] == 0
        saved = run_cli(["snapshot", "save", str(home / "backup.db")], environ)
        assert saved[2] == 0, saved
        (home / "hash").write_bytes(run_cli(["endpoint", "hashkv", "-w", "json"], environ)[0])
        assert server.stop() == 0
    finally:
        server.kill()
    return home


@pytest.fixture
def data(stopped: Path, tmp_path: Path) -> Path:
    """A copy of that directory, to be damaged."""
    return Path(shutil.copytree(stopped / "data", tmp_path / "data"))


def utl(*words: str | Path) -> tuple[str, str, int]:
    """Run a command without any server."""
    out, err, status = run_cli([str(word) for word in words], {})
    return out.decode(), err.decode(), status


def test_transcript(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    with running(PYKVD) as server:
        environ = environment(server)
        for line in ("put foo bar", "put foo baz", "put abc 123", "del abc"):
            assert run_cli(line.split(), environ)[2] == 0
        assert run_cli(["snapshot", "save", str(tmp_path / "backup.db")], environ)[2] == 0
    content = bytearray((tmp_path / "backup.db").read_bytes())
    (tmp_path / "copied.db").write_bytes(content[:-32])
    content[9000] ^= 1
    (tmp_path / "corrupt.db").write_bytes(content)
    (tmp_path / "bad.db").write_bytes(b"garbage")
    data.rename(tmp_path / "stopped.etcd")
    monkeypatch.chdir(tmp_path)
    replayed = 0
    for step in read_transcript("10-etcdutl.txt"):
        if any(re.search(pattern, step.command) for pattern in NOT_OURS):
            continue
        replayed += 1
        words = step.command.removeprefix("etcdutl ").split()
        with subtests.test(msg=step.command, number=step.number):
            expected, got = comparable(step.outcome), comparable(outcome_of(*run_cli(words, {})))
            assert as_36(got) == as_36(expected)
    assert replayed > 12


def as_36(outcome: Outcome) -> Outcome:
    """Without what 3.6 says otherwise than 3.5: repeated errors, a panic, sizes in log lines."""
    stderr = [
        re.sub(r"^((?:finished )?defragmenting[a-z ]*) \[.*", r"\1", s) for s in outcome.stderr
    ]
    if any(line.startswith("panic: ") for line in stderr):
        return Outcome([], ["Failed to defragment"], 1)
    if stderr and stderr[0].startswith("Error: Failed to defragment"):
        return Outcome([], ["Failed to defragment"], outcome.status)
    names = [line.replace("etcdutl", "pykvctl") for line in stderr]
    if names and names[0].startswith("Error: unknown command"):
        return Outcome([], names[:2], outcome.status)
    return Outcome(outcome.stdout, names, outcome.status)


# A directory in use


@pytest.mark.parametrize(
    "words",
    [
        ["defrag", "--data-dir", "DATA"],
        ["verify", "--data-dir", "DATA"],
        ["migrate", "--data-dir", "DATA", "--target-version", "3.6"],
        ["hashkv", "DATA/member/db/1/data.mdb"],
        ["snapshot", "status", "DATA/member/db/1/data.mdb"],
    ],
)
def test_a_directory_in_use_is_refused(words: list[str]) -> None:
    with running(PYKVD) as server:
        out, err, status = utl(*(word.replace("DATA", str(server.data)) for word in words))
        assert (out, status) == ("", 1)
        line = err.splitlines()[-1]
        assert line.startswith("Error: ")
        assert f"cannot lock {server.data}/member/LOCK; stop the server first" in line
        assert run_cli(["put", "still", "works"], environment(server))[2] == 0


@pytest.mark.parametrize("command", ["defrag", "verify"])
def test_a_missing_directory_is_not_made(command: str, tmp_path: Path) -> None:
    _, err, status = utl(command, "--data-dir", tmp_path / "nosuch")
    assert status == 1
    assert "no such file or directory" in err
    assert not (tmp_path / "nosuch").exists()


# What the commands do


def test_defrag_keeps_all_and_gives_space_back(data: Path) -> None:
    environment_of = Environment(store_of(data))
    environment_of.write([], [], {("meta", b"%d" % n): b"x" * 1000 for n in range(500)})
    environment_of.write([], [], {("meta", b"%d" % n): None for n in range(500)})
    environment_of.close()
    file = store_of(data) / "data.mdb"
    before, hashed = file.stat().st_size, utl("hashkv", file)[0]
    out, err, status = utl("defrag", "--data-dir", data)
    assert (out, status) == ("", 0), err
    assert [message(line).split(" [")[0] for line in err.splitlines()] == [
        "defragmenting",
        "finished defragmenting directory",
    ]
    fields = json.loads(err.splitlines()[-1])
    file = store_of(data) / "data.mdb"
    assert file.stat().st_size == fields["current-db-size-bytes"] < before // 4
    assert fields["current-db-size-bytes-diff"] < 0
    assert utl("hashkv", file)[0] == hashed
    assert utl("verify", "--data-dir", data)[2] == 0


def test_hashkv_of_a_file_is_that_of_the_server(stopped: Path) -> None:
    answer = json.loads((stopped / "hash").read_bytes())[0]["HashKV"]
    expected = (answer["hash"], answer["hash_revision"], answer["compact_revision"])
    for file in (stopped / "backup.db", store_of(stopped / "data") / "data.mdb"):
        assert utl("hashkv", file)[0] == "{}, {}, {}\n".format(*expected)
    found = json.loads(utl("hashkv", stopped / "backup.db", "-w", "json")[0])
    assert tuple(found.values()) == expected
    assert list(found) == ["hash", "hashRevision", "compactRevision"]
    fields = utl("hashkv", stopped / "backup.db", "-w", "fields")[0].splitlines()
    assert fields[1:] == [f'"Hash revision" : {expected[1]}', '"Compact revision" : -1']
    table = utl("hashkv", stopped / "backup.db", "-w", "table")[0].splitlines()
    assert [cell.strip() for cell in table[1].split("|")[1:-1]] == [
        "HASH",
        "HASH REVISION",
        "COMPACT REVISION",
    ]
    older = utl("hashkv", stopped / "backup.db", "--rev", "3")[0]
    assert older != utl("hashkv", stopped / "backup.db")[0]
    assert older.split(", ")[1] == "3"
    _, err, status = utl("hashkv", stopped / "backup.db", "--rev", "1000")
    assert (err, status) == ("Error: mvcc: required revision is a future revision\n", 1)


@pytest.mark.parametrize(
    ("words", "error", "status"),
    [
        (["hashkv"], "accepts 1 arg(s), received 0", 1),
        (["hashkv", "nosuch.db"], "stat nosuch.db: no such file or directory", 1),
        (["verify"], 'required flag(s) "data-dir" not set', 1),
        (["migrate"], 'required flag(s) "data-dir", "target-version" not set', 1),
        (
            ["migrate", "--data-dir=x", "--target-version=3.6.0"],
            'wrong target version format, expected "X.Y", got "3.6.0"',
            128,
        ),
        (
            ["migrate", "--data-dir=x", "--target-version=3.x"],
            "failed to parse target version: 3.x is not in dotted-tri format",
            128,
        ),
        (
            ["migrate", "--data-dir=x", "--target-version=3.4"],
            'target version "3.4" not supported. Minimal "3.5"',
            128,
        ),
    ],
)
def test_bad_arguments(
    words: list[str], error: str, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert utl(*words) == ("", f"Error: {error}\n", status)


def test_there_is_one_version_of_the_storage(data: Path) -> None:
    _, err, status = utl("migrate", "--data-dir", data, "--target-version=3.6")
    assert status == 0
    assert json.loads(err)["msg"] == "storage version up-to-date"
    _, err, status = utl("migrate", "--data-dir", data, "--target-version=3.5")
    assert (err, status) == ("Error: storage of version 3.6.0 cannot be migrated to 3.5\n", 1)


# verify


def store_of(data: Path) -> Path:
    """The directory of the newest data file."""
    found = latest(data / "member" / "db")
    assert found is not None
    return found


def segment_of(data: Path) -> Path:
    """The only segment of the log."""
    (segment,) = (data / "member" / "wal").glob("*.wal")
    return segment


def snapshot_of(data: Path) -> dict[Path, bytes]:
    """Content of all files but the lock."""
    return {
        path: path.read_bytes()
        for path in data.rglob("*")
        if path.is_file() and "lock" not in path.name.lower()
    }


def test_a_sound_directory(data: Path) -> None:
    before = snapshot_of(data)
    out, err, status = utl("verify", "--data-dir", data)
    assert (err, status) == ("", 0)
    log, store, verdict = out.splitlines()
    assert re.fullmatch(r"log: 1 segment, entries \d+ to \d+, term 2", log)
    assert re.fullmatch(
        r"store: revision 7, never compacted, 2 keys, 6 records, 1 lease, 1 member, "
        r"at entry \d+",
        store,
    )
    assert verdict == f"{data} is sound"
    assert snapshot_of(data) == before
    found = json.loads(utl("verify", "--data-dir", data, "-w", "json")[0])
    assert (found["sound"], found["store"]["keys"], found["findings"]) == (True, 2, [])


def test_a_killed_member_is_sound(tmp_path: Path) -> None:
    server = Server(PYKVD, tmp_path)
    try:
        server.start()
        for number in range(20):
            assert run_cli(["put", f"k{number % 3}", "x"], environment(server))[2] == 0
    finally:
        server.kill()
    out, _, status = utl("verify", "--data-dir", server.data)
    assert status == 0, out


def test_every_flipped_byte_of_a_record_of_the_log_is_found(data: Path) -> None:
    """Whichever byte of a record in the middle is damaged, its place is named."""
    segment = segment_of(data)
    content = segment.read_bytes()
    starts = [m.start() - MAGIC_OFFSET for m in re.finditer(re.escape(MAGIC), content)]
    # The last records may be a torn batch for all that can be told.
    start, end = starts[4], starts[5]
    for position in range(start, end, 5):
        broken = bytearray(content)
        broken[position] ^= 0x40
        segment.write_bytes(broken)
        out, _, status = utl("verify", "--data-dir", data)
        assert status == 1
        damage = next(line for line in out.splitlines() if line.startswith("damage: "))
        assert damage.startswith(f"damage: {segment} at byte {start}: ")
        assert "way out: this member must not vote on what is left; restore" in out
        assert segment.read_bytes() == broken


def test_a_torn_tail_is_a_note(data: Path) -> None:
    segment = segment_of(data)
    content = segment.read_bytes().rstrip(b"\0")
    segment.write_bytes(content + b"\x20\0\0\0\4" + MAGIC + bytes(HEADER_BYTES) + b"half")
    out, _, status = utl("verify", "--data-dir", data)
    assert status == 0
    assert f"note: {segment.parent}: a crash left an unfinished write" in out


def test_a_missing_segment(data: Path) -> None:
    segment_of(data).unlink()
    out, _, status = utl("verify", "--data-dir", data)
    assert status == 1
    assert f"damage: {data}/member/wal: {data}/member/wal holds no log" in out


Change = Callable[[Environment], object]


def append(framed: bytes, record_id: int) -> Change:
    """Add a record."""
    return lambda env: env.write([(record_id, framed)], [], {})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (append(b"garbage", 100 << MAIN_SHIFT), "record 100.0 cannot be parsed"),
        (
            append(encode_key_value(b"n", 99, 99, 1, b"", 0), 100 << MAIN_SHIFT | FRESH),
            "record 100.0 of key b'n': its mod_revision is 99",
        ),
        (
            append(encode_key_value(b"n", 100, 100, 1, b"", 0), 100 << MAIN_SHIFT),
            "record 100.0 of key b'n': its flags do not fit its content",
        ),
        (
            append(encode_key_value(b"n", 50, 100, 3, b"", 0), 100 << MAIN_SHIFT),
            "record 100.0 of key b'n': version 2 before it is missing",
        ),
        (
            append(encode_key_value(b"foo", 2, 100, 9, b"", 0), 100 << MAIN_SHIFT),
            "record 100.0 of key b'foo': version 9 follows version 3",
        ),
        (
            lambda env: env.write([], [], {("lease", key): None for key, _ in env.table("lease")}),
            "key b'leased' hangs on lease",
        ),
        (
            lambda env: env.write([], [], {("member", k): b"{}" for k, _ in env.table("member")}),
            "table member, key",
        ),
        (
            lambda env: env.write([], [], {("member", k): None for k, _ in env.table("member")}),
            "takes part in consensus, but is not in table member",
        ),
        (lambda env: env.write([], [], {("meta", APPLIED_KEY): b"?"}), "table meta cannot be read"),
        (lambda env: env.write([], [3 << MAIN_SHIFT], {}), "version 3 follows version 1"),
    ],
)
def test_what_is_wrong_with_the_store_is_told(data: Path, change: Change, text: str) -> None:
    opened = Environment(store_of(data))
    change(opened)
    opened.close()
    out, _, status = utl("verify", "--data-dir", data)
    assert status == 1
    damage = next(line for line in out.splitlines() if line.startswith("damage: "))
    assert re.match(rf"damage: {store_of(data)}/data.mdb( at byte \d+)?: ", damage)
    assert text in damage
    assert "way out: restore the data directory with `pykvctl snapshot restore`" in out
    assert f"{data} is DAMAGED" in out


def test_the_place_of_a_damaged_record_is_told(data: Path) -> None:
    # So that no old page holds the record too.
    assert utl("defrag", "--data-dir", data)[2] == 0
    file = store_of(data) / "data.mdb"
    content = bytearray(file.read_bytes())
    assert content.count(b"qux") == 1
    place = content.find(b"qux")
    # The length of the value, which stands before it.
    content[place - 1] += 1
    file.write_bytes(content)
    out, _, status = utl("verify", "--data-dir", data)
    assert status == 1
    damage = re.search(r"damage: \S+/data.mdb at byte (\d+): record 6.0 cannot be parsed", out)
    assert damage is not None, out
    assert 0 < place - int(damage[1]) < 50


def test_a_flipped_byte_of_a_value(data: Path) -> None:
    """What no other check can see, the running checksum tells."""
    file = store_of(data) / "data.mdb"
    content = bytearray(file.read_bytes())
    places = [match.start() for match in re.finditer(b"qux", content)]
    assert places
    for place in places:
        content[place] ^= 1
    file.write_bytes(content)
    out, _, status = utl("verify", "--data-dir", data)
    assert status == 1
    assert "the checksum of revisions 2 to 7 is " in out


@pytest.mark.parametrize("kept", [0, 5000, 20_000])
def test_a_data_file_that_was_cut_short(data: Path, kept: int) -> None:
    file = store_of(data) / "data.mdb"
    file.write_bytes(file.read_bytes()[:kept])
    out, err, status = utl("verify", "--data-dir", data)
    assert (err, status) == ("", 1)
    assert f"damage: {file}: " in out


def test_pages_that_kill_their_reader(data: Path) -> None:
    """LMDB trusts its pages; whatever becomes of its process, the command says what it is."""
    file = store_of(data) / "data.mdb"
    content = bytearray(file.read_bytes())
    # Everything but the two meta pages.
    content[8192:] = b"\xff" * (len(content) - 8192)
    file.write_bytes(content)
    out, err, status = utl("verify", "--data-dir", data)
    assert (err, status) == ("", 1)
    assert f"damage: {file}: " in out


@pytest.mark.parametrize(
    ("index", "severity", "text"),
    [
        (0, "damage", "it is at entry 0, but the log goes on behind entry 1"),
        (10**6, "note", "it is at entry 1000000, ahead of the log"),
        (-1, "note", "of term 7, where the log holds one of 2"),
    ],
)
def test_a_store_that_is_not_where_the_log_is(
    data: Path, index: int, severity: str, text: str
) -> None:
    environment_of = Environment(store_of(data))
    applied, _ = APPLIED.unpack(dict(environment_of.table("meta"))[APPLIED_KEY])
    mark = APPLIED.pack(applied if index < 0 else index, 7)
    environment_of.write([], [], {("meta", APPLIED_KEY): mark})
    environment_of.close()
    out, _, status = utl("verify", "--data-dir", data)
    assert status == (1 if severity == "damage" else 0)
    found = next(line for line in out.splitlines() if line.startswith(f"{severity}: "))
    assert text in found
