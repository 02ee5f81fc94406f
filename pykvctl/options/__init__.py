"""Flags: how they are declared, parsed and filled from the environment.

`values` are the kinds of flag values, `parser` the rules of the command line, `command` the click
classes that use both, `global_flags` the flags every command has.
"""
