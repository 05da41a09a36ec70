"""The native transport: gRPC over HTTP/2 by libnghttp2 (`ngh2`) on the event loop itself.

All that one turn of the event loop reads, on whatever connection, is handed over before anything
is computed, so that it can be one batch; every connection's answers leave in one write. There is no
task, thread or queue per call.

`framing` has the rules of gRPC without I/O, `connection` speaks HTTP/2, `calls` serves one call,
`hub` holds what connections share, `server` listens and drains. `ngh2` is imported by `connection`
alone; its interface is young, so its release is pinned.
"""
