"""Who belongs to the cluster."""
