"""The commands, one subject a file; `ROOT` names them and imports them when they are called."""

from pykvctl.options.command import Group
from pykvd.version import API_VERSION as _LEVEL

API_VERSION = ".".join(_LEVEL.split(".")[:2])

_PACKAGE = "pykvctl.commands"

ROOT = Group(
    "pykvctl",
    short_help="A command line client of the etcd v3 API.",
    # The order is that of suggestions for unknown words.
    lazy={
        "get": f"{_PACKAGE}.get:get",
        "put": f"{_PACKAGE}.put:put",
        "del": f"{_PACKAGE}.delete:delete",
        "txn": f"{_PACKAGE}.txn:txn",
        "compaction": f"{_PACKAGE}.compaction:compaction",
        "alarm": f"{_PACKAGE}.alarm:alarm",
        "defrag": f"{_PACKAGE}.defrag:defrag",
        "endpoint": f"{_PACKAGE}.endpoint:endpoint",
        "move-leader": f"{_PACKAGE}.move_leader:move_leader",
        "watch": f"{_PACKAGE}.watch:watch",
        "version": f"{_PACKAGE}.version:version",
        "lease": f"{_PACKAGE}.lease:lease",
        "member": f"{_PACKAGE}.member:member",
        "snapshot": f"{_PACKAGE}.snapshot:snapshot",
        "make-mirror": f"{_PACKAGE}.make_mirror:make_mirror",
        "lock": f"{_PACKAGE}.lock:lock",
        "elect": f"{_PACKAGE}.elect:elect",
        "auth": f"{_PACKAGE}.auth:auth",
        "user": f"{_PACKAGE}.user:user",
        "role": f"{_PACKAGE}.role:role",
        "check": f"{_PACKAGE}.check:check",
        "completion": f"{_PACKAGE}.completion:completion",
        "downgrade": f"{_PACKAGE}.downgrade:downgrade",
        "help": f"{_PACKAGE}.help:help_command",
    },
    # What etcdctl does not have: our own commands, etcdutl's, and those of v2.
    extra={
        "history": f"{_PACKAGE}.history:history",
        "diff": f"{_PACKAGE}.diff:diff",
        "undo": f"{_PACKAGE}.undo:undo",
        "tree": f"{_PACKAGE}.tree:tree",
        "top": f"{_PACKAGE}.top:top",
        "verify": f"{_PACKAGE}.data_dir:verify",
        "hashkv": f"{_PACKAGE}.data_dir:hashkv",
        "migrate": f"{_PACKAGE}.data_dir:migrate",
        "set": f"{_PACKAGE}.v2:set_key",
        "mk": f"{_PACKAGE}.v2:make_key",
        "update": f"{_PACKAGE}.v2:update_key",
        "rm": f"{_PACKAGE}.v2:remove",
        "ls": f"{_PACKAGE}.v2:list_keys",
        "cluster-health": f"{_PACKAGE}.cluster_health:cluster_health",
        "mkdir": f"{_PACKAGE}.retired:mkdir",
        "setdir": f"{_PACKAGE}.retired:setdir",
        "updatedir": f"{_PACKAGE}.retired:updatedir",
        "rmdir": f"{_PACKAGE}.retired:rmdir",
        "exec-watch": f"{_PACKAGE}.retired:exec_watch",
        "backup": f"{_PACKAGE}.retired:backup",
        "import": f"{_PACKAGE}.retired:import_",
    },
)
