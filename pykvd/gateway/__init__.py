"""The JSON gateway: every RPC as `POST /v3/...`, with the conventions of grpc-gateway.

`codec` converts messages, `routes` says which path is which RPC, `unary` and `stream` are the calls
that the services see, `gateway` answers HTTP requests with them, `openapi` describes it all.
"""

from pykvd.gateway.gateway import Gateway

__all__ = ["Gateway"]
