"""Services of the API that this server does not have yet, and a mark for the tests that wait."""

import pytest

AUTH = "etcdserverpb.Auth"
LOCK = "v3lockpb.Lock"
ELECTION = "v3electionpb.Election"
#: `test_services` fails when one of these is served: then its tests have to run.
NOT_SERVED: tuple[str, ...] = (AUTH,)


def not_served(*services: str) -> pytest.MarkDecorator:
    """Skip while any of the services is missing."""
    missing = [service for service in services if service in NOT_SERVED]
    return pytest.mark.skipif(bool(missing), reason=f"{', '.join(missing)}: not served yet")
