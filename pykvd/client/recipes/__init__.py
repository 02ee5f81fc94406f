"""Locks, elections, barriers, queues and transactional memory on keys, leases and watches.

Keys are laid out as in the recipes of etcd's Go client (`concurrency` and `recipes`), so that
programs in Go and Python meet at the same lock. Everything here is a plan, without I/O.
"""
