"""The calls that the client makes, some under shorter names, and which of them it repeats.

Beside those that are always repeatable it repeats what it can tell the outcome of.
"""

from __future__ import annotations

from pykvd import methods as api
from pykvd.methods import Method, Req, Resp

__all__ = ["Method", "Req", "Resp"]

RANGE = api.RANGE
PUT = api.PUT
DELETE = api.DELETE_RANGE
DELETE_OWN = DELETE.repeated()
"""Of a key that nobody else makes or deletes."""
TXN = api.TXN
REPEATABLE_TXN = TXN.repeated()
"""A transaction that only reads, or after which its conditions hold no more."""
COMPACT = api.COMPACT

WATCH = api.WATCH

GRANT = api.LEASE_GRANT.repeated()
"""Repeated, it leaves at worst a lease that nobody knows and that expires."""
GRANT_ID = api.LEASE_GRANT
"""With an id of the caller's choice: repeated, it would find its own lease and fail."""
REVOKE = api.LEASE_REVOKE.repeated()
KEEP_ALIVE = api.LEASE_KEEP_ALIVE.repeated()
TIME_TO_LIVE = api.LEASE_TIME_TO_LIVE
LEASES = api.LEASE_LEASES

MEMBER_LIST = api.MEMBER_LIST
MEMBER_ADD = api.MEMBER_ADD
MEMBER_REMOVE = api.MEMBER_REMOVE
MEMBER_UPDATE = api.MEMBER_UPDATE
MEMBER_PROMOTE = api.MEMBER_PROMOTE

ALARM = api.ALARM.repeated()
STATUS = api.STATUS
DEFRAGMENT = api.DEFRAGMENT
HASH = api.HASH
HASH_KV = api.HASH_KV
SNAPSHOT = api.SNAPSHOT.repeated()
MOVE_LEADER = api.MOVE_LEADER.repeated()

AUTHENTICATE = api.AUTHENTICATE
AUTH_ENABLE = api.AUTH_ENABLE
AUTH_DISABLE = api.AUTH_DISABLE
AUTH_STATUS = api.AUTH_STATUS
USER_ADD = api.USER_ADD
USER_GET = api.USER_GET
USER_LIST = api.USER_LIST
USER_DELETE = api.USER_DELETE
USER_CHANGE_PASSWORD = api.USER_CHANGE_PASSWORD
USER_GRANT_ROLE = api.USER_GRANT_ROLE
USER_REVOKE_ROLE = api.USER_REVOKE_ROLE
ROLE_ADD = api.ROLE_ADD
ROLE_GET = api.ROLE_GET
ROLE_LIST = api.ROLE_LIST
ROLE_DELETE = api.ROLE_DELETE
ROLE_GRANT = api.ROLE_GRANT_PERMISSION
ROLE_REVOKE = api.ROLE_REVOKE_PERMISSION
