"""What each command is for, by topic, and how it is used: help and docs/cli.md teach from here."""

from typing import NamedTuple

#: Topics in the order in which they are shown.
TOPICS = (
    "Keys",
    "The past of keys",
    "Leases, locks, elections",
    "Cluster",
    "Maintenance",
    "Files without a server",
    "Users and roles",
    "Habits of etcd v2",
    "This program",
)
(KEYS, PAST, LEASES, CLUSTER, MAINTENANCE, FILES, ACCESS, V2, PROGRAM) = TOPICS


class Entry(NamedTuple):
    """A command's topic, and one command line that shows its use."""

    topic: str
    example: str


CATALOG: dict[str, Entry] = {
    "get": Entry(KEYS, "pykvctl get /app/ --prefix --keys-only"),
    "put": Entry(KEYS, "pykvctl put /app/color blue --prev-kv"),
    "del": Entry(KEYS, "pykvctl del /app/ --prefix"),
    "txn": Entry(KEYS, 'printf \'mod("k") > "0"\\n\\nput k new\\n\\nget k\\n\\n\' | pykvctl txn'),
    "watch": Entry(KEYS, "pykvctl watch /app/ --prefix -- sh -c 'echo $ETCD_WATCH_KEY changed'"),
    "tree": Entry(KEYS, "pykvctl tree /registry/ --depth 2"),
    "make-mirror": Entry(KEYS, "pykvctl make-mirror --prefix /app/ 10.0.0.9:2379"),
    "history": Entry(PAST, "pykvctl history /app/color"),
    "diff": Entry(PAST, "pykvctl diff 120 0 /app/ --prefix"),
    "undo": Entry(PAST, "pykvctl undo /app/color"),
    "compaction": Entry(PAST, "pykvctl compaction 120"),
    "lease grant": Entry(LEASES, "pykvctl lease grant 60"),
    "lease revoke": Entry(LEASES, "pykvctl lease revoke 694d8bd16d5f6d0b"),
    "lease timetolive": Entry(LEASES, "pykvctl lease timetolive 694d8bd16d5f6d0b --keys"),
    "lease list": Entry(LEASES, "pykvctl lease list"),
    "lease keep-alive": Entry(LEASES, "pykvctl lease keep-alive 694d8bd16d5f6d0b"),
    "lock": Entry(LEASES, "pykvctl lock nightly -- ./backup.sh"),
    "elect": Entry(LEASES, "pykvctl elect scheduler $(hostname)"),
    "member list": Entry(CLUSTER, "pykvctl member list -w table"),
    "member add": Entry(
        CLUSTER, "pykvctl member add n4 --peer-urls=http://10.0.0.4:2380 --learner"
    ),
    "member remove": Entry(CLUSTER, "pykvctl member remove 8e9e05c52164694d"),
    "member update": Entry(
        CLUSTER, "pykvctl member update 8e9e05c52164694d --peer-urls=http://10.0.0.5:2380"
    ),
    "member promote": Entry(CLUSTER, "pykvctl member promote 8e9e05c52164694d"),
    "move-leader": Entry(CLUSTER, "pykvctl move-leader 8e9e05c52164694d"),
    "endpoint health": Entry(CLUSTER, "pykvctl endpoint health --cluster"),
    "endpoint status": Entry(CLUSTER, "pykvctl endpoint status --cluster -w table"),
    "endpoint hashkv": Entry(CLUSTER, "pykvctl endpoint hashkv --cluster"),
    "top": Entry(CLUSTER, "pykvctl top"),
    "downgrade validate": Entry(CLUSTER, "pykvctl downgrade validate 3.5"),
    "downgrade enable": Entry(CLUSTER, "pykvctl downgrade enable 3.5"),
    "downgrade cancel": Entry(CLUSTER, "pykvctl downgrade cancel"),
    "alarm list": Entry(MAINTENANCE, "pykvctl alarm list"),
    "alarm disarm": Entry(MAINTENANCE, "pykvctl alarm disarm"),
    "defrag": Entry(MAINTENANCE, "pykvctl defrag --cluster"),
    "snapshot save": Entry(MAINTENANCE, "pykvctl snapshot save backup.db"),
    "check perf": Entry(MAINTENANCE, "pykvctl check perf --load=m"),
    "check datascale": Entry(MAINTENANCE, "pykvctl check datascale --load=s"),
    "snapshot status": Entry(FILES, "pykvctl snapshot status backup.db -w table"),
    "snapshot restore": Entry(FILES, "pykvctl snapshot restore backup.db --data-dir new.etcd"),
    "hashkv": Entry(FILES, "pykvctl hashkv backup.db"),
    "verify": Entry(FILES, "pykvctl verify --data-dir default.etcd"),
    "migrate": Entry(FILES, "pykvctl migrate --data-dir default.etcd --target-version 3.6"),
    "auth enable": Entry(ACCESS, "pykvctl auth enable"),
    "auth disable": Entry(ACCESS, "pykvctl --user root auth disable"),
    "auth status": Entry(ACCESS, "pykvctl auth status"),
    "user add": Entry(ACCESS, "pykvctl user add alice"),
    "user delete": Entry(ACCESS, "pykvctl user delete alice"),
    "user get": Entry(ACCESS, "pykvctl user get alice --detail"),
    "user list": Entry(ACCESS, "pykvctl user list"),
    "user passwd": Entry(ACCESS, "pykvctl user passwd alice"),
    "user grant-role": Entry(ACCESS, "pykvctl user grant-role alice app"),
    "user revoke-role": Entry(ACCESS, "pykvctl user revoke-role alice app"),
    "role add": Entry(ACCESS, "pykvctl role add app"),
    "role delete": Entry(ACCESS, "pykvctl role delete app"),
    "role get": Entry(ACCESS, "pykvctl role get app"),
    "role list": Entry(ACCESS, "pykvctl role list"),
    "role grant-permission": Entry(
        ACCESS, "pykvctl role grant-permission app readwrite /app/ --prefix"
    ),
    "role revoke-permission": Entry(ACCESS, "pykvctl role revoke-permission app /app/ --prefix"),
    "set": Entry(V2, "pykvctl set os linux --ttl 60"),
    "mk": Entry(V2, "pykvctl mk os linux"),
    "update": Entry(V2, "pykvctl update os bsd"),
    "rm": Entry(V2, "pykvctl rm os"),
    "ls": Entry(V2, "pykvctl ls /app --recursive"),
    "cluster-health": Entry(V2, "pykvctl cluster-health"),
    "mkdir": Entry(V2, "pykvctl put a/b/c VALUE"),
    "setdir": Entry(V2, "pykvctl put a/b/c VALUE"),
    "updatedir": Entry(V2, "pykvctl put --lease=694d8bd16d5f6d0b a/b/c VALUE"),
    "rmdir": Entry(V2, "pykvctl del a/ --prefix"),
    "exec-watch": Entry(V2, "pykvctl watch KEY -- COMMAND ARGS"),
    "backup": Entry(V2, "pykvctl snapshot save backup.db"),
    "import": Entry(V2, "pykvctl put KEY VALUE"),
    "completion": Entry(PROGRAM, "source <(pykvctl completion bash)"),
    "version": Entry(PROGRAM, "pykvctl version"),
    "help": Entry(PROGRAM, "pykvctl help get"),
}
