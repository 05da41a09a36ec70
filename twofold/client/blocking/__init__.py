"""The client that blocks; its I/O only, all else is shared with twofold.client.aio."""
