"""Users of a server under test, and logins."""

from pykvd.pb import auth_pb2
from pykvd.pb import rpc_pb2 as rpc
from tests.harness import Client, methods
from tests.harness.rpc import Metadata

READ, WRITE = auth_pb2.Permission.READ, auth_pb2.Permission.WRITE
READWRITE = auth_pb2.Permission.READWRITE
ROOT, ANN = "root", "ann"
ROOT_PASSWORD, ANN_PASSWORD = "topsecret-of-root", "pw-of-ann"
#: bcrypt as cheap as it gets.
FLAGS = ("--bcrypt-cost=4",)
#: What `ann` may read and write, and what only read.
OWN, OWN_END, SHARED = b"app/", b"app0", b"shared"


def enable_auth(client: Client) -> None:
    """Make root and `ann`, and turn auth on."""
    add_user(client, ROOT, ROOT_PASSWORD)
    grant_role(client, ROOT, ROOT)
    add_user(client, ANN, ANN_PASSWORD)
    client.call(methods.ROLE_ADD, rpc.AuthRoleAddRequest(name="app"))
    grant(client, "app", READWRITE, OWN, OWN_END)
    grant(client, "app", READ, SHARED)
    grant_role(client, ANN, "app")
    client.call(methods.AUTH_ENABLE)


def add_user(client: Client, name: str, password: str, who: Metadata = ()) -> None:
    """Add a user."""
    request = rpc.AuthUserAddRequest(name=name, password=password)
    client.call(methods.USER_ADD, request, who)


def change_password(client: Client, name: str, password: str, who: Metadata = ()) -> None:
    """Give a user another password."""
    request = rpc.AuthUserChangePasswordRequest(name=name, password=password)
    client.call(methods.USER_CHANGE_PASSWORD, request, who)


def grant_role(client: Client, user: str, role: str, who: Metadata = ()) -> None:
    """Give a user a role."""
    request = rpc.AuthUserGrantRoleRequest(user=user, role=role)
    client.call(methods.USER_GRANT_ROLE, request, who)


def grant(
    client: Client,
    role: str,
    kind: auth_pb2.Permission.Type,
    key: bytes,
    range_end: bytes = b"",
    who: Metadata = (),
) -> None:
    """Give a role a permission."""
    permission = auth_pb2.Permission(permType=kind, key=key, range_end=range_end)
    request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=permission)
    client.call(methods.ROLE_GRANT, request, who)


def log_in(client: Client, name: str, password: str) -> Metadata:
    """The metadata that makes a call the user's."""
    request = rpc.AuthenticateRequest(name=name, password=password)
    return (("token", client.call(methods.AUTHENTICATE, request).token),)


def as_root(client: Client) -> Metadata:
    """Log in as root."""
    return log_in(client, ROOT, ROOT_PASSWORD)


def as_ann(client: Client) -> Metadata:
    """Log in as `ann`."""
    return log_in(client, ANN, ANN_PASSWORD)
