"""The client for asyncio: the same surface as the blocking one, awaited."""
