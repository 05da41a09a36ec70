"""A load generator for any server of the Open Inference Protocol over gRPC.

Its decisions (`schedule`, `histogram`, `tally`, `report`) know nothing of sockets; `link` is the
client's side of HTTP/2 over libnghttp2; `network` owns the sockets and the clock.
"""
