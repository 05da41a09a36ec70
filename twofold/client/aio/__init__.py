"""The client for asyncio; its I/O only, all else is shared with twofold.client.blocking."""
