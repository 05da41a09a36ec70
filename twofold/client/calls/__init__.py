"""Every RPC as data: what is sent, to whom, how long it may take, how the answer is read.

No I/O: the blocking and the asyncio client share all of it.
"""
