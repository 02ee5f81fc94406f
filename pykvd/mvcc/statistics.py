"""What the store's disk side counts about itself."""

from pykvd.histogram import DISK_BOUNDS, Histogram, exponential

#: Upper bounds in seconds of what rewrites, copies or reads the whole file (etcd's).
DEFRAGMENT_BOUNDS = exponential(0.1, 2, 13)
COPY_BOUNDS = exponential(0.01, 2, 17)
HASH_BOUNDS = exponential(0.01, 2, 15)


class BackendStatistics:
    """Totals since the backend was opened; durations in seconds."""

    def __init__(self) -> None:
        self.commit_seconds = Histogram(DISK_BOUNDS)
        self.defragment_seconds = Histogram(DEFRAGMENT_BOUNDS)
        #: Defragmentations under way.
        self.defragmenting = 0
        self.copy_seconds = Histogram(COPY_BOUNDS)
        #: Of the whole file, and of the records up to a revision.
        self.hash_seconds = Histogram(HASH_BOUNDS)
        self.hash_revision_seconds = Histogram(HASH_BOUNDS)
        #: Bytes of the records given to commits.
        self.record_bytes = 0
