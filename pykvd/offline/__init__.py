"""Work on the directory of a member that does not run: `directory` holds it, `verify` checks it.

Nothing here needs a server or an event loop, and nothing touches a directory in use.
"""
