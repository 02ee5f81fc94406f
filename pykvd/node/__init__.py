"""The node: propose, replicate, apply, answer."""
