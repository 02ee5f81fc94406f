"""Answers to generated bodies keep to the description of the gateway."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # has no stubs of its own
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykvd.gateway.openapi import describe
from pykvd.gateway.routes import ROUTES, find_method
from tests.harness import Server
from tests.integration.http.serving import Connection
from tests.unit.gateway.messages import json_near

DESCRIPTION = describe()
#: Held back: it hands out a stream without end, or the server does not go on as it was.
LEFT_OUT = {
    "/v3/watch",
    "/v3/election/observe",
    "/v3/lock/lock",
    "/v3/election/campaign",
    "/v3/auth/enable",
    "/v3/cluster/member/add",
    "/v3/cluster/member/remove",
    "/v3/cluster/member/update",
}
PATHS = sorted(set(DESCRIPTION["paths"]) - LEFT_OUT)
#: The HTTP status of each gRPC code, as the server must choose it.
STATUS = {
    1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409, 11: 400,
    12: 501, 13: 500, 14: 503, 15: 500, 16: 401,
}  # fmt: skip


@cache
def validator(path: str, status: str) -> jsonschema.Draft202012Validator:
    response = DESCRIPTION["paths"][path]["post"]["responses"][status]
    schema = response["content"]["application/json"]["schema"]
    return jsonschema.Draft202012Validator({**schema, "components": DESCRIPTION["components"]})


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[Connection]:
    with Connection(server.endpoint) as connection:
        yield connection


def bodies(path: str) -> st.SearchStrategy[Any]:
    return json_near(find_method(*ROUTES[path]).input_type)


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_answers_keep_to_the_description(connection: Connection, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(PATHS))
    body = data.draw(bodies(path))
    answer = connection.request("POST", path, json.dumps(body).encode())
    values = [json.loads(line) for line in answer.body.splitlines()]
    assert values
    if answer.status == 200:
        for value in values:
            validator(path, "200").validate(value)
        return
    (value,) = values
    validator(path, "default").validate(value)
    error = value["error"] if isinstance(value["error"], dict) else value
    assert answer.status == STATUS[error["code"]]
    assert error["code"] != 13


def test_the_schemas_are_not_lax() -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator("/v3/kv/put", "200").validate({"header": {"revision": 5}})
    with pytest.raises(jsonschema.ValidationError):
        validator("/v3/kv/put", "200").validate({"nope": 1})
    validator("/v3/kv/put", "200").validate({"header": {"revision": "5"}})
