"""A pytest plugin that gives tests a server, a cluster or a client (docs/testing.md).

It is on wherever pykvd is installed, and costs a run that does not use it nothing but the import of
`pykvd.testing.plugin`, which imports no server. `-p no:pykvd` turns it off.
"""
