"""Everything that is measured under load, in the order in which it runs.

`WORKLOADS` on a single server, `CLUSTER_WORKLOADS` on three members.
"""

from benchmarks.workload import Workload
from benchmarks.workloads.auth import AUTH_WORKLOADS
from benchmarks.workloads.cluster import CLUSTER_WORKLOADS
from benchmarks.workloads.gateway import GATEWAY_WORKLOADS
from benchmarks.workloads.lease import LEASE_WORKLOADS
from benchmarks.workloads.mixed import MIXED_WORKLOADS
from benchmarks.workloads.put import PUT_WORKLOADS
from benchmarks.workloads.ranges import RANGE_WORKLOADS
from benchmarks.workloads.scraped import SCRAPED_WORKLOADS
from benchmarks.workloads.tls import TLS_WORKLOADS
from benchmarks.workloads.txn import TXN_WORKLOADS
from benchmarks.workloads.watch import WATCH_WORKLOADS

# Writes come first, on a small store; leases late, because those granted stay; auth
# last, because it stays on.
WORKLOADS: tuple[Workload, ...] = (
    *PUT_WORKLOADS,
    *SCRAPED_WORKLOADS,
    *GATEWAY_WORKLOADS,
    *TLS_WORKLOADS,
    *TXN_WORKLOADS,
    *WATCH_WORKLOADS,
    *RANGE_WORKLOADS,
    *MIXED_WORKLOADS,
    *LEASE_WORKLOADS,
    *AUTH_WORKLOADS,
)

BY_NAME = {workload.row.name: workload for workload in (*WORKLOADS, *CLUSTER_WORKLOADS)}
