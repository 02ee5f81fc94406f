"""How a new member finds the others of its cluster when no option lists them.

`srv` asks DNS for the SRV records of a domain; `domain` makes members of them (`--discovery-srv`).
`service` registers the member with a key-value store and waits for the others to do the same
(`--discovery-token`, `--discovery-endpoints`); `registry` is what it reads and writes there, as
etcd 3.6 has it. `domain.members_of` and `registry` are pure. Nothing of this is loaded unless asked
for.
"""
