"""check: whether a cluster keeps up with a load, and what data costs it."""

from pykvctl.options.command import Group

_PACKAGE = "pykvctl.commands"

check = Group(
    "check",
    short_help="commands for checking properties of the etcd cluster",
    lazy={
        "perf": f"{_PACKAGE}.check_perf:perf",
        "datascale": f"{_PACKAGE}.check_datascale:datascale",
    },
)
