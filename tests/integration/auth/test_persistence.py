"""What a restart, a snapshot and a look into the files show."""

import base64
import json
import re
import shutil
from pathlib import Path

import bcrypt
import pytest

from pykvd.offline.store_check import examine
from pykvd.pb import rpc_pb2 as rpc
from pykvd.restore import Target, restore
from tests.harness import PYKVD, Client, Failure, Server, methods, running
from tests.integration.auth.accounts import (
    ANN,
    ANN_PASSWORD,
    FLAGS,
    OWN,
    ROOT_PASSWORD,
    add_user,
    as_ann,
    as_root,
    change_password,
    enable_auth,
    grant_role,
    log_in,
)

FAILED = Failure(
    "INVALID_ARGUMENT", "etcdserver: authentication failed, invalid user ID or password"
)
OTHER_PASSWORD = "another-pw-of-ann"


def write_own(client: Client) -> None:
    client.call(methods.PUT, rpc.PutRequest(key=OWN, value=b"v"), as_ann(client))


def test_auth_survives_a_crash_and_tokens_do_not_outlive_a_stop() -> None:
    with running(PYKVD, FLAGS) as server:
        with Client(server.endpoint) as client:
            enable_auth(client)
            token = as_ann(client)
            write_own(client)
        for end in (server.kill, server.stop):
            end()
            server.start()
            with Client(server.endpoint) as client:
                refused = client.attempt(methods.PUT, rpc.PutRequest(key=OWN))
                assert refused == Failure("INVALID_ARGUMENT", "etcdserver: user name is empty")
                write_own(client)
                status = client.call(methods.AUTH_STATUS, None, as_root(client))
                assert (status.enabled, status.authRevision) == (True, 8)
        with Client(server.endpoint) as client:
            # The second start had the first login in no log any more.
            refused = client.attempt(methods.PUT, rpc.PutRequest(key=OWN), token)
            assert refused == Failure("UNAUTHENTICATED", "etcdserver: invalid auth token")


def test_names_longer_than_any_key_of_the_store() -> None:
    """They are no reason to stop, now or at the next start; nor are two that begin alike."""
    names = ["n" * 100_000 + end for end in "ab"]
    with running(PYKVD, FLAGS) as server:
        with Client(server.endpoint) as client:
            enable_auth(client)
            root = as_root(client)
            for name in names:
                add_user(client, name, ANN_PASSWORD, root)
                client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name=name), root)
                grant_role(client, name, name, root)
            client.call(methods.ROLE_DELETE, rpc.AuthRoleDeleteRequest(role=names[0]), root)
        for end in (server.stop, server.kill):
            end()
            server.start()
            with Client(server.endpoint) as client:
                root = as_root(client)
                log_in(client, names[0], ANN_PASSWORD)
                roles = [
                    client.call(methods.USER_GET, rpc.AuthUserGetRequest(name=name), root).roles
                    for name in names
                ]
                assert roles == [[], [names[1]]]
        server.stop()
        (store,) = server.data.glob("member/db/*/data.mdb")
        assert examine(store).problems == []


def test_a_snapshot_keeps_auth(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot.db"
    with running(PYKVD, FLAGS) as server, Client(server.endpoint) as client:
        enable_auth(client)
        write_own(client)
        blobs = [message.blob for message in client.snapshot(as_root(client))]
        snapshot.write_bytes(b"".join(blobs))
    with running(PYKVD, FLAGS) as server:
        server.stop()
        _restore(snapshot, server)
        server.start()
        with Client(server.endpoint) as client:
            write_own(client)
            assert log_in_fails(client, "wrong") == FAILED
            assert client.call(methods.USER_LIST, None, as_root(client)).users == [ANN, "root"]


def _restore(snapshot: Path, server: Server) -> None:
    """Put the snapshot where the server's data was."""
    peer = f"http://127.0.0.1:{server.peer_port}"
    shutil.rmtree(server.data)
    target = Target(
        data_dir=server.data, initial_cluster=f"default={peer}", initial_advertise_peer_urls=peer
    )
    restore(snapshot, target)


def log_in_fails(client: Client, password: str) -> Failure:
    request = rpc.AuthenticateRequest(name=ANN, password=password)
    answer = client.attempt(methods.AUTHENTICATE, request)
    assert isinstance(answer, Failure)
    return answer


def test_no_secret_reaches_a_log_or_stands_in_a_file_as_it_was_typed() -> None:
    with running(PYKVD, (*FLAGS, "--log-level=debug")) as server:
        with Client(server.endpoint) as client:
            enable_auth(client)
            tokens = [as_ann(client)[0][1], as_root(client)[0][1]]
            log_in_fails(client, "mistyped-password")
            change_password(client, ANN, OTHER_PASSWORD, as_root(client))
            tokens += [log_in(client, ANN, OTHER_PASSWORD)[0][1], "NoSuchTokenAtAll.1"]
            client.attempt(methods.PUT, rpc.PutRequest(key=OWN), (("token", tokens[-1]),))
        server.stop()
        log = server.log_text()
        files = b"".join(path.read_bytes() for path in server.data.rglob("*") if path.is_file())
    passwords = [ROOT_PASSWORD, ANN_PASSWORD, OTHER_PASSWORD, "mistyped-password"]
    for secret in (*passwords, *map(str, tokens)):
        assert secret not in log
        assert secret.partition(".")[0] not in log
    for password in passwords:
        assert password.encode() not in files
        assert base64.b64encode(password.encode()) not in files
    assert not re.search(r"\$2[aby]\$|JDJ", log), "a hash, or the beginning of one in base64"
    assert b"$2b$04$" in files, "hashes are kept"
    assert [line["action"] for line in _audit(log)] == [
        "user_add",
        "user_grant_role",
        "user_add",
        "role_add",
        "role_grant_permission",
        "role_grant_permission",
        "user_grant_role",
        "auth_enable",
        "authenticate",
        "user_change_password",
        "put",
    ]


def _audit(log: str) -> list[dict[str, str]]:
    lines = [json.loads(line) for line in log.splitlines()]
    return [line for line in lines if line.get("logger") == "audit"]


def test_a_hash_that_the_client_made() -> None:
    """`UserChangePassword` takes one where there is no password; with neither, none is left."""
    hashed = base64.b64encode(bcrypt.hashpw(b"by-hand", bcrypt.gensalt(4, b"2a"))).decode()
    with running(PYKVD, FLAGS) as server, Client(server.endpoint) as client:
        enable_auth(client)
        root = as_root(client)
        change = rpc.AuthUserChangePasswordRequest(name=ANN, hashedPassword=hashed)
        client.call(methods.USER_CHANGE_PASSWORD, change, root)
        log_in(client, ANN, "by-hand")
        change.hashedPassword = "no base64"
        assert client.attempt(methods.USER_CHANGE_PASSWORD, change, root) == Failure(
            "UNKNOWN",
            "auth: authentication failed, password was given for no password user",
        )
        change.hashedPassword = ""
        client.call(methods.USER_CHANGE_PASSWORD, change, root)
        for password in ("", "by-hand"):
            assert log_in_fails(client, password) == FAILED


@pytest.mark.parametrize("flag", ["--auth-token=bearer", "--auth-token=jwt,sign-method=RS256"])
def test_options_that_stop_the_start(flag: str) -> None:
    with pytest.raises(Exception, match="auth: "), running(PYKVD, (flag,)):
        pass


def test_no_tokens_at_all() -> None:
    with running(PYKVD, (*FLAGS, "--auth-token=")) as server, Client(server.endpoint) as client:
        enable_auth(client)
        assert log_in_fails(client, ANN_PASSWORD) == FAILED
