"""Watches: who is interested in which keys, and who has been told up to which revision."""
