"""The descriptor pool of this package's messages.

Other etcd clients register the same proto packages in protobuf's default pool; a pool of our own
lets all of them live in one process.
"""

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
