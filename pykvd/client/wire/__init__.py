"""gRPC over HTTP/2 as the client speaks it, over sockets.

`http2` is a connection without I/O. `shared` puts it on a socket that threads share, and `blocking`
makes a transport of it; `asynchronous` does both for an event loop. They are transports as
`pykvd.client.transport` defines them. `endpoint` and `tls` say where to connect and how.
"""
