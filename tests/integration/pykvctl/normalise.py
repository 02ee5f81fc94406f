"""Makes a recorded outcome and a replayed one comparable.

Left out is what varies between runs, and what the releases do differently: the transcripts are of
etcdctl 3.5.30, pykvctl follows 3.6 (whose source is the authority). The differences:

- 3.5 prints usage errors and unknown commands twice.
- 3.6 has more columns in `endpoint status` and `endpoint hashkv`.
- 3.6 leaves `"Revision" : 0` out of fields, and prints IDs of fields in hexadecimal with `--hex`.
- 3.6 adds the time taken to the text of `defrag`.
- The transcripts' build draws tables with box characters, and an empty table without its rule.
- `del KEY RANGE_END` warns in other words.
- `endpoint status -w json` without any answer is `null` in 3.6.
- `snapshot save` words its argument error with `<filename>`.
- Refusals of maintenance calls have a code and a text of the API; role root tells its range.
"""

import json
import re
from dataclasses import replace

from tests.integration.pykvctl.transcript import Outcome

# Client library messages of 3.5 that tell nothing a user could act upon.
_BOX = str.maketrans("┌┬┐├┼┤└┴┘─│", "+++++++++-|")
_MEMBER = 17972519140695862508
_CLUSTER = 1170829803042988325

# What differs with every run or store: a pattern and what stands for it.
_VARYING = [
    (r'"raft_term":\d+', '"raft_term":T'),
    (r'"RaftTerm" : \d+', '"RaftTerm" : T'),
    (r'"(raftIndex|raftTerm|raftAppliedIndex|dbSize|dbSizeInUse)":\d+', r'"\1":N'),
    (r'"(DBSize|RaftIndex|RaftAppliedIndex)" : \d+', r'"\1" : N'),
    (r'"version":"[\d.]+"', '"version":V'),
    (r'"Version" : "[\d.]+"', '"Version" : V'),
    (r"took = \S+", "took = D"),
    (r'"took":"[^"]+"', '"took":D'),
    (r'"Took" : \S+', '"Took" : D'),
    (r"remaining\(\d+s\)", "remaining(N)"),
    (r'"ttl":5\d\d', '"ttl":N'),
    (r'"TTL" : 599', '"TTL" : 600'),
    (r'"hash":\d+', '"hash":N'),
    (r'"Hash" : \d+', '"Hash" : N'),
    (r"^(\S+:\d+), \d{6,}$", r"\1, HASH"),
]
# What only 3.6 prints.
_NEWER = [
    (r',"storageVersion":"[^"]*"', ""),
    (r',"dbSizeQuota":\d+', ""),
    (r',"downgradeInfo":\{[^}]*\}', ""),
    (r',"hash_revision":\d+', ""),
    (r"\. took [\d.]+[mµn]?s(?=$|\.)", ""),
    (r"\]\. \((?=.*\)$)", "] ("),
    (r"(?<=one argument) <filename>", ""),
]
_NEWER_FIELDS = re.compile(
    r'"(StorageVersion|DBSizeInUse|DBSizeQuota|DowngradeTargetVersion|DowngradeEnabled'
    r'|HashRevision)" : |Server version '
)
_HEADER_BYTES = r"(08 a5 c2 c5 b6 8a f0 e7 9f 10 10 ec d9 d7 e0 f9 dd cd b5 f9 01(?: 18 ..)? 20) .."
_STATUS_COLUMNS_35 = (0, 1, 2, 4, 8, 9, 10, 11, 12, 13)


def recorded(outcome: Outcome, command: str) -> Outcome:
    """The outcome of a transcript, told as 3.6 would."""
    stderr = outcome.stderr
    for i, line in enumerate(stderr):
        if line.startswith("Run '"):
            stderr = stderr[: i + 1]
            break
        if line == "" and stderr[i + 1 :] == stderr[:i]:
            stderr = stderr[: i + 1]
            break
    stdout = [line.translate(_BOX) for line in outcome.stdout]
    if len(stdout) == 3 and stdout[0] == stdout[2] and stdout[0].startswith("+-"):
        stdout.append(stdout[0])
    if "--hex" in command and "fields" in command:
        stdout = [_hex_ids(line) for line in stdout]
    stdout = [line for line in stdout if line != '"Revision" : 0']
    if stdout == ["Role root", "KV Read:", "KV Write:"]:
        stdout = [stdout[0], stdout[1], "\t[, <open ended>", stdout[2], "\t[, <open ended>"]
    if stdout == ["[]"] and "endpoint status" in command:
        stdout = ["null"]
    return _common(replace(outcome, stdout=stdout, stderr=stderr), command)


def _mapped(line: str) -> str:
    """A refusal that 3.5 let through without a code of the API."""
    bare, mapped = "auth: permission denied", "etcdserver: permission denied"
    if line.startswith("{"):
        return line.replace(
            f"code = Unknown desc = {bare}", f"code = PermissionDenied desc = {mapped}"
        )
    return line.replace(f"rpc error: code = Unknown desc = {bare}", mapped)


def replayed(outcome: Outcome, command: str) -> Outcome:
    """The outcome of pykvctl, without what only 3.6 has."""
    stdout = outcome.stdout
    if stdout and stdout[0] == "NAME:":
        name = stdout[1].split(" - ")[0].strip().replace("pykvctl", "etcdctl")
        stdout = [f"[usage text of {name}]"]
    stdout = [line for line in stdout if not _NEWER_FIELDS.match(line)]
    if "endpoint status" in command:
        stdout = [_project_status(line) for line in stdout]
    if "endpoint hashkv" in command:
        stdout = [re.sub(r"^(\S+, \d+), \d+$", r"\1", line) for line in stdout]
        stdout = [_without_last_cell(line) for line in stdout]
    return _common(replace(outcome, stdout=stdout), command)


def _common(outcome: Outcome, command: str) -> Outcome:
    stdout = [_line(_mapped(line)) for line in outcome.stdout]
    if "| od " in command:
        # One line, and without the raft term, the last field of the header.
        stdout = [re.sub(_HEADER_BYTES, r"\1 T", "".join(stdout))]
    stderr = [_line(_log_line(_mapped(line))) for line in outcome.stderr]
    stderr = [line for line in stderr if line]
    stdout = _join_wrapped_rows(["+---" if line.startswith("+-") else line for line in stdout])
    if "timetolive" in command and "fields" in command:
        stdout = sorted(stdout)  # The keys of a lease have no order.
    if "lease list" in command:
        # The IDs of leases granted with an output that hides them are not known.
        stdout = [
            re.sub(r"^[0-9a-f]{16}$|(?<=\"id\":)\d+|(?<=\"ID\" : )\d+", "ID", s) for s in stdout
        ]
    if "lease list extra" in command:
        stdout = ["found N leases" if stdout[0].startswith("found ") else stdout[0]]
    if command.count("watch w") > 1:
        stdout = sorted(stdout)  # Watches that are started together print in any order.
    if "watch" in command:
        stdout = _without_repetitions(stdout, command)
    return replace(outcome, stdout=stdout, stderr=stderr)


def without_revisions(outcome: Outcome) -> Outcome:
    """For stores that are filled to their quota: how many writes that takes varies."""
    pattern = r'("revision":|"Revision" : |revision )\d+|(?<= f9 01 18 )..'
    return replace(outcome, stdout=[re.sub(pattern, r"\1N", line) for line in outcome.stdout])


def _line(line: str) -> str:
    for pattern, text in _VARYING + _NEWER:
        line = re.sub(pattern, text, line)
    line = re.sub(r"attached keys\(\[(.*)\]\)", lambda m: f"attached {sorted(m[1].split())}", line)
    line = re.sub(r'"keys":(\[[^]]*\])', lambda m: f'"keys":{sorted(json.loads(m[1]))}', line)
    if line.startswith("| "):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        line = " | ".join(_cell(cell) for cell in cells)
    if line.startswith(("In etcd v3.6, the operation", "Warning: Keys between")):
        return "WARNING"
    if re.match(r"^\S+, [0-9a-f]+, [\d.]+, \S+ \S+, ", line):
        parts = line.split(", ")
        return ", ".join([*parts[:2], "V", "SIZE", *parts[4:6], "T", "I", "A", *parts[9:]])
    return line.replace("pykvctl", "etcdctl")


def _join_wrapped_rows(lines: list[str]) -> list[str]:
    """Table rows in one piece; a row that goes on starts with an empty cell."""
    rows: list[str] = []
    for line in lines:
        if line.startswith(" | "):
            pairs = zip(rows.pop().split(" | "), line.split(" | "), strict=True)
            line = " | ".join(" ".join(filter(None, pair)) for pair in pairs)
        rows.append(line)
    return rows


def _cell(cell: str) -> str:
    """A table cell; versions, sizes, times and counters vary."""
    if re.fullmatch(r"\d+", cell):
        return "N"
    if re.fullmatch(r"[\d.]+ ?(B|kB|MB|ns|µs|ms|s)|\d+\.\d+\.\d+", cell):
        return "X"
    return cell


def _project_status(line: str) -> str:
    """A line of `endpoint status` with the columns of 3.5 only."""
    if line.startswith("| "):
        cells = line.strip("|").split("|")
        return "|" + "|".join(cells[i] for i in _STATUS_COLUMNS_35) + "|"
    parts = line.split(", ")
    if len(parts) < 16 or line.startswith(("{", "[")):
        return line
    return ", ".join(parts[i] for i in _STATUS_COLUMNS_35)


def _without_last_cell(line: str) -> str:
    return line.rsplit("|", 2)[0] + "|" if line.startswith("| ") else line


def _log_line(line: str) -> str:
    """A log line reduced to level, message and error; libraries word TLS errors differently."""
    if not line.startswith('{"level":'):
        return line
    entry = json.loads(line)
    variable = entry.get("environment-variable", "")
    error = entry.get("error", "")
    error = re.sub(r"latest balancer error: .*handshake failed: .*", "HANDSHAKE", error)
    error = re.sub(r" on [\d.]+:53: no such host", ": no such host", error)
    return " ".join([entry["level"], entry["msg"], variable, error]).strip()


def _hex_ids(line: str) -> str:
    line = line.replace(f" : {_CLUSTER}", f" : {_CLUSTER:x}")
    return line.replace(f" : {_MEMBER}", f" : {_MEMBER:x}")


def _without_repetitions(lines: list[str], command: str) -> list[str]:
    """Progress notices repeat as long as one listens; one of each is enough."""
    if "--progress-notify" not in command:
        return lines
    return list(dict.fromkeys(lines))
