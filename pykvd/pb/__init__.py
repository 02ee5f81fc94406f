"""Generated protobuf messages of the etcd v3 API (`make protos` writes them)."""
