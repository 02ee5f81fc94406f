"""What is not served yet says so."""

import pytest

from pykvd.pb import rpc_pb2
from tests.conformance.services import NOT_SERVED
from tests.harness import Client
from tests.harness.methods import Method
from tests.harness.rpc import Failure


@pytest.mark.parametrize("service", NOT_SERVED)
def test_a_service_that_is_not_served(client: Client, service: str) -> None:
    method = Method(f"/{service}/Any", rpc_pb2.StatusRequest, rpc_pb2.StatusResponse)
    assert client.attempt(method) == Failure("UNIMPLEMENTED", f"unknown service {service}")
