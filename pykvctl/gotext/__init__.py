"""Go's textual conventions, which the command line shares with etcdctl.

Scripts match error texts such as `strconv.ParseInt: parsing "x": invalid syntax` and read quoted
strings and durations, so they are written and read here exactly as the Go standard library does.
"""
