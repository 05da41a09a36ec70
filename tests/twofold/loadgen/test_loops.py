"""Closed and open loops against a server in memory, in time that a test makes."""

import dataclasses
from itertools import pairwise

import pytest
from ngh2 import Setting

from tests.twofold.loadgen.fakes import MS, NEVER, Behaviour, FakeNetwork, Reply, S, answer, no_cost
from twofold.errors import Unavailable
from twofold.loadgen import link, points, requests
from twofold.loadgen.measure import Plan, Target, measure
from twofold.loadgen.points import Load, Point
from twofold.loadgen.schedule import Arrivals
from twofold.oip import inference_pb2 as pb

PLAN = Plan(
    target=Target("server:1", timeout_s=0.3),
    model="m",
    version="",
    bodies=[requests.framed(b"request")],
    duration_s=1,
    warmup_s=0.1,
    arrivals=Arrivals.CONSTANT,
)


def run(network: FakeNetwork, load: Load, plan: Plan = PLAN) -> Point:
    point = measure(plan, load, network, no_cost)

    assert all(channel.is_closed for channel in network.channels)
    assert not any(channel.owner.calls for channel in network.channels)
    return point


def stalls(from_ns: int, until_ns: int) -> Behaviour:
    """A server of 1 ms a request that answers nothing between two times."""

    def behave(now_ns: int) -> Reply:
        return Reply(after_ns=until_ns - now_ns + MS if from_ns <= now_ns < until_ns else MS)

    return behave


STALL = stalls(S + 500 * MS, S + 700 * MS)


@pytest.mark.parametrize(("concurrency", "connections"), [(1, 1), (7, 3), (6, 6)])
def test_closed_loop_keeps_its_concurrency(concurrency: int, connections: int) -> None:
    network = FakeNetwork()

    point = run(network, points.closed(concurrency, connections))

    assert network.most == concurrency
    assert len(network.channels) == connections
    assert point.rate == pytest.approx(1000 * concurrency, rel=0.01)
    assert point.latency_ms.p50 == point.latency_ms.max == pytest.approx(1, rel=0.001)
    assert point.errors == {}


def test_open_loop_sends_when_requests_are_due_and_on_all_connections() -> None:
    network = FakeNetwork()

    point = run(network, points.opened(500, connections=4))

    assert point.rate == pytest.approx(500, rel=0.01)
    assert {b - a for a, b in pairwise(network.arrivals_ns)} == {2 * MS}
    assert len(network.channels) == 4
    assert all(channel.write_count > 100 for channel in network.channels)
    assert point.lateness_ms.count == 500
    assert point.lateness_ms.max == 0


def test_warm_up_is_not_measured() -> None:
    slow_begin = FakeNetwork(lambda now_ns: Reply(50 * MS if now_ns < S + 90 * MS else MS))

    point = run(slow_begin, points.closed(1))

    assert point.latency_ms.max == pytest.approx(1, rel=0.001)
    assert slow_begin.arrivals_ns[0] < S + 90 * MS


def test_stall_shows_in_the_percentiles_of_an_open_loop() -> None:
    """No coordinated omission: whoever would have asked meanwhile has waited, too."""
    point = run(FakeNetwork(STALL), points.opened(1000, connections=1))

    # A fifth of all requests were due within the stall, and waited 100 ms on average.
    assert point.latency_ms.max == pytest.approx(201, abs=1)
    assert point.latency_ms.p99 == pytest.approx(190, abs=3)
    assert point.latency_ms.p90 == pytest.approx(101, abs=3)
    assert point.latency_ms.p50 == pytest.approx(1, abs=0.1)
    assert point.errors == {}


def test_stall_of_a_server_without_room_shows_just_the_same() -> None:
    """Requests that no connection takes any more count from when they were due, too."""
    network = FakeNetwork(STALL)
    network.settings = {Setting.MAX_CONCURRENT_STREAMS: 10}

    point = run(network, points.opened(1000, connections=1))

    assert network.most <= 10
    assert point.latency_ms.p99 == pytest.approx(190, abs=20)
    assert point.latency_ms.p90 > 90
    assert 150 < point.held_count < 400
    # What the server held back is not the generator's delay.
    assert point.lateness_ms.max == 0
    assert point.lateness_ms.count + point.held_count == 1000


def test_the_same_stall_is_hardly_seen_by_a_closed_loop() -> None:
    """Why there is an open loop at all."""
    point = run(FakeNetwork(STALL), points.closed(1))

    assert point.latency_ms.max == pytest.approx(201, abs=1)
    assert point.latency_ms.p99 == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("load", [points.closed(4), points.opened(100)])
def test_request_without_an_answer_has_failed_after_the_deadline(load: Load) -> None:
    network = FakeNetwork(lambda _: NEVER)

    point = run(network, load)

    assert set(point.errors) == {"DEADLINE_EXCEEDED"}
    assert point.error_count == (100 if load.rate else pytest.approx(4 * 1 / 0.3, abs=4))
    assert point.examples["DEADLINE_EXCEEDED"] == "no answer within 0.3 s"
    assert point.answered_count == 0
    assert network.headers[b"grpc-timeout"] == b"300m"


def test_requests_that_waited_too_long_for_room_are_sent_no_more() -> None:
    """Else a run would take as long as a server needs for what nobody waits for any more."""
    network = FakeNetwork(lambda _: NEVER)
    network.settings = {Setting.MAX_CONCURRENT_STREAMS: 1}

    point = run(network, points.opened(1000, connections=1))

    assert point.error_count == 1000
    assert network.time_ns < S + (1100 + 300 + 50) * MS
    assert len(network.arrivals_ns) < 200


def test_late_answer_to_a_request_of_the_window_is_counted() -> None:
    """Else whatever is slow near the end would go missing."""
    end_ns = S + 1100 * MS
    network = FakeNetwork(lambda now_ns: Reply(200 * MS if now_ns > end_ns - 50 * MS else MS))

    point = run(network, points.opened(100))

    assert point.latency_ms.count == 100
    assert point.latency_ms.max == pytest.approx(200, rel=0.001)
    assert point.answered_count == 96


@pytest.mark.parametrize("load", [points.closed(6, 2), points.opened(1000, 2)])
def test_lost_connection_is_counted_and_opened_again(load: Load) -> None:
    network = FakeNetwork(
        lambda now_ns: Reply(is_cut=S + 500 * MS <= now_ns < S + 502 * MS, after_ns=5 * MS)
    )

    point = run(network, load)

    assert set(point.errors) == {"UNAVAILABLE"}
    assert 2 <= point.error_count < 30
    assert point.examples == {"UNAVAILABLE": "cut"}
    assert 3 <= len(network.channels) <= 4
    assert point.answered_count > 900


def test_server_that_stays_away_costs_few_tries() -> None:
    network = FakeNetwork()

    def fall(now_ns: int) -> Reply:
        network.is_down = now_ns >= S + 300 * MS
        return Reply(is_cut=network.is_down)

    network.behave = fall

    point = run(network, points.closed(4, 1))

    # What was under way, each once, and each connection that did not come about.
    assert point.error_count == 4 + len(network.channels) - 1
    assert 4 < len(network.channels) < 10


def test_open_loop_without_a_server_fails_what_is_due() -> None:
    network = FakeNetwork()

    def fall(now_ns: int) -> Reply:
        network.is_down = now_ns >= S + 600 * MS
        return Reply(is_cut=network.is_down)

    network.behave = fall

    point = run(network, points.opened(1000, 1))

    assert point.answered_count + point.error_count == pytest.approx(1000, abs=10)
    assert 450 < point.error_count < 520
    assert set(point.errors) == {"UNAVAILABLE"}


def test_goaway_ends_no_request_and_another_connection_takes_over() -> None:
    network = FakeNetwork(lambda _: Reply(after_ns=20 * MS))

    def drain() -> None:
        network.channels[0].server.send_goaway()
        network.channels[0].push()

    network.at(505 * MS, drain)

    point = run(network, points.closed(3, 1))

    assert point.errors == {}
    assert len(network.channels) == 2
    assert point.rate == pytest.approx(150, rel=0.1)


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (
            Reply(trailers=((b"grpc-status", b"8"), (b"grpc-message", b"queue%20full"))),
            "RESOURCE_EXHAUSTED",
            "queue full",
        ),
        (
            Reply(is_trailers_only=True, trailers=((b"grpc-status", b"5"),)),
            "NOT_FOUND",
            "",
        ),
        (Reply(trailers=()), "UNKNOWN", "the answer has no grpc-status"),
        (Reply(headers=((b":status", b"502"),)), "UNAVAILABLE", "answered HTTP status 502"),
        (Reply(reset=7), "UNAVAILABLE", "HTTP/2 error 7"),
        (Reply(reset=0), "INTERNAL", "without a status"),
        (Reply(reset=8), "CANCELLED", "HTTP/2 error 8"),
        (Reply(body=b""), "INVALID_ANSWER", "no message"),
        (Reply(body=requests.framed(answer("n"))), "INVALID_ANSWER", "of model n, not m"),
    ],
)
def test_whatever_is_no_good_answer_is_an_error(reply: Reply, code: str, message: str) -> None:
    reply = dataclasses.replace(reply, after_ns=50 * MS)

    point = run(FakeNetwork(lambda _: reply), points.closed(2))

    assert set(point.errors) == {code}
    assert 36 <= point.error_count <= 42
    assert message in point.examples[code]
    assert point.answered_count == point.latency_ms.count == 0


def test_answer_in_pieces_is_one() -> None:
    """Larger than a frame, larger than the window that HTTP/2 begins with."""
    large = pb_answer(50_000)
    plan = dataclasses.replace(PLAN, duration_s=0.1)

    point = run(FakeNetwork(lambda _: Reply(body=large)), points.closed(2), plan)

    assert point.errors == {}
    assert point.rate == pytest.approx(2000, rel=0.05)


def test_used_up_connection_is_replaced_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "LAST_STREAM", 401)
    network = FakeNetwork()

    point = run(network, points.closed(2, 1))

    assert point.errors == {}
    assert len(network.channels) == pytest.approx(11, abs=2)
    assert point.rate == pytest.approx(2000, rel=0.05)


def pb_answer(floats: int) -> bytes:
    made = pb.ModelInferResponse(model_name="m", model_version="1")
    made.outputs.add(name="y", datatype="FP32", shape=[1, floats])
    made.raw_output_contents.append(bytes(4 * floats))
    return requests.framed(made.SerializeToString())


def test_large_requests_respect_the_servers_window() -> None:
    """A server's window opens as it reads; what does not fit waits here."""
    network = FakeNetwork()
    plan = dataclasses.replace(
        PLAN, bodies=[requests.framed(bytes(300_000))], duration_s=0.05, warmup_s=0
    )

    point = run(network, points.closed(3), plan)

    assert point.errors == {}
    assert point.answered_count > 40


def test_no_server_is_told_at_once() -> None:
    network = FakeNetwork()
    network.is_down = True

    with pytest.raises(Unavailable, match=r"server:1 cannot be reached: Connection refused"):
        run(network, points.closed(1))


def test_server_that_says_nothing_is_given_up() -> None:
    network = FakeNetwork()
    network.is_silent = True

    with pytest.raises(Unavailable, match="no HTTP/2 within 10 s"):
        run(network, points.closed(1))


def test_versions_that_answer_are_told() -> None:
    half = S + 600 * MS
    network = FakeNetwork(
        lambda now_ns: Reply(body=requests.framed(answer(version="1" if now_ns < half else "2")))
    )

    point = run(network, points.closed(4))

    assert set(point.versions) == {"1", "2"}
    assert point.errors == {}
