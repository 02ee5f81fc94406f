"""Servers inside a program: calls without a socket, a thread for a server, clusters of threads.

`pykvd.embed.Server` is the server; the modules here stand around it. `door` makes the calls that
otherwise come from connections; `loop_transport` and `thread_transport` carry a client's calls to
it (the seam of `pykvd.client.transport`). `place` finds a directory and a port. `background` runs a
server in a thread of its own, `cluster` several of them.
"""
