"""What a caller may do at most, against slow, silent and flooding ones."""

#: Connections, and calls in progress on all of them.
MAX_CONNECTIONS, MAX_CALLS = 512, 4096
#: Bytes of messages that have not come whole, or that streams have not taken, of all calls.
MAX_BUFFERED_BYTES = 1 << 30
#: Calls that one connection may have open.
MAX_STREAMS = 1024
#: Bytes that a connection, and one of its streams, may send before they were used.
CONNECTION_WINDOW, STREAM_WINDOW = 4 << 20, 1 << 20
#: Bytes of names and values of a call's headers, with 32 for each (RFC 9113, 6.5.2). Above the
#: first the call is refused, above the second its connection ends.
METADATA_BYTES, HEADERS_BYTES = 16 << 10, 64 << 10
#: Bytes of answers that a caller has not taken: more, and its calls are refused. Above the second,
#: of all callers, are those of each who has not taken some.
ANSWERS_BYTES, ALL_ANSWERS_BYTES = 256 << 20, 1 << 30
#: Bytes that are handed to the socket at a time, and that may wait there.
WRITE_BYTES = 1 << 20
#: Pings without calls between them may come this often, and this many of them sooner.
PING_GAP_S, PING_STRIKES = 10.0, 2
#: A caller has so long to begin, to go on with a message, and to take what was written.
HANDSHAKE_S, STALL_S = 5.0, 60.0
#: Between the two steps of the end: a call may be on its way when the first is said.
NOTICE_S = 0.1
#: After the last word a caller has so long to go.
LINGER_S = 2.0
#: A connection without calls ends after the first; any, for the balance of load, after the second.
IDLE_S, AGE_S, AGE_GRACE_S = 600.0, 1800.0, 60.0
