"""The multi-version key-value store: an in-memory index over records kept in LMDB.

`Store` is driven by one thread (the event loop); `Backend` owns the thread that writes LMDB.
"""
