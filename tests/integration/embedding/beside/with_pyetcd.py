"""pykvd and etcd-sdk-python in one process: a server, its client, and the other client."""

import pyetcd

import pykvd

with pykvd.serve() as server, server.client() as ours:
    host, port = server.endpoint.split(":")
    with pyetcd.client(host=host, port=int(port), timeout=20) as theirs:
        theirs.put("k", "v")
        found = ours.get("k")
        assert found is not None
        ours.put("l", "v")
        print(found.value, theirs.get("l")[0])
