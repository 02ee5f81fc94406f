"""Benchmarks that run pykvd and etcd in turn on one machine and compare them.

`python -m benchmarks.run` measures and prints the table; `python -m benchmarks.selftest` shows
what the load generator can do by itself. From the bottom up:

- `frames`, `headers`, `connection`: a minimal HTTP/2 client that parses only what it needs;
- `messages`, `histogram`, `closed_loop`: gRPC messages, latencies, callers that wait for answers;
- `workloads`: what is measured, one subject a file;
- `generator`: one workload spread over several processes; `servers`, `cluster`: the programs under
  test, one by itself or three members;
- `settle`, `scale`: the pause between workloads; memory and restart with many keys;
- `failover`: how long writes stop when the leader is killed;
- `report`, `machine`: the table and where it was made.
"""
