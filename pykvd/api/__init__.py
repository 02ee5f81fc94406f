"""The services of the etcd v3 API: one file a service, requests in, commands or replies out."""
