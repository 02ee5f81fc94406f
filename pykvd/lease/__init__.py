"""Leases: keys that vanish when their holder stops renewing."""
