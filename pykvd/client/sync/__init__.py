"""The client for plain code: every call blocks until it is answered or its time is over."""
