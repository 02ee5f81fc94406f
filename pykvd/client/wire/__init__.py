"""gRPC over HTTP/2 as the client speaks it, over sockets.

`http2` is a connection without I/O. `blocking` and `asynchronous` put it on sockets, for threads
and for an event loop; both are transports as `pykvd.client.transport` defines them. `endpoint` and
`tls` say where to connect and how.
"""
