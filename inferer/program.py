"""A loaded version as a program: arrays of requests in, arrays of each request out.

Which forms of its network compute them was measured; see inferer.preparation. No torch.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from inferer.forms.form import Columns, Form, Selected
from inferer.lane import INLINE_LIMIT_S, Executed
from inferer.outputs import Outputs, RequestOutputs
from inferer.pace import Pace
from inferer.sole import SoleRows
from inferer.statistics import Timing
from twofold.features import Features
from twofold.golden import Golden
from twofold.tensors import Array
from twofold.v1.model_pb2 import Tolerance

Inputs = Mapping[str, Array]

#: What is computed on a device is waited for, never on the loop: it is expected to take more than
#: a batch may take there.
_NEVER_INLINE_S = INLINE_LIMIT_S * 1.001


class Preparation(Protocol):
    """What makes a program ready to serve; see inferer.preparation."""

    def replay(self, program: "NetProgram", examples: Golden, tolerance: Tolerance) -> None:
        """Raises Corrupt unless the golden examples give the expected answers."""
        ...

    def warm_up(self, program: "NetProgram", examples: Golden) -> None:
        """Gives the program its forms, warm, and its pace."""
        ...


class NetProgram:
    """Runs batches of one version, one at a time, on any one thread.

    It has one version's weights for ever. Forms may be replaced by others of these weights.
    """

    def __init__(
        self, features: Features, eager: Form, preparation: Preparation, *, is_inline: bool = True
    ) -> None:
        self.features = features
        self._preparation: Preparation | None = preparation
        self._first_name = features.names[0]
        #: Replaced as a whole.
        self.forms = Selected((eager,))
        self._is_inline = is_inline
        #: None until it is warm.
        self.pace: Pace | None = None
        #: What runs which batch sizes, and why; for people.
        self.told: Mapping[str, str] = {}

    def replay(self, examples: Golden, tolerance: Tolerance) -> None:
        """See loading.Network."""
        if self._preparation is not None:
            self._preparation.replay(self, examples, tolerance)

    def warm_up(self, examples: Golden) -> None:
        """See loading.Network; lets go of what is only needed until then."""
        if self._preparation is not None:
            self._preparation.warm_up(self, examples)
            self._preparation = None

    def expected_s(self, rows: int) -> float:
        """See lane.Program."""
        if self.pace is None:
            return float("inf")
        expected_s = self.pace.expected_s(rows)
        return expected_s if self._is_inline else max(expected_s, _NEVER_INLINE_S)

    def run(self, parts: Sequence[Inputs]) -> Executed:
        """See lane.Program."""
        try:
            return self._run(parts)
        except Exception as error:  # noqa: BLE001 - the top of what the engine's thread runs
            if len(parts) == 1:
                return Executed([error], Timing(0, 0, 0))
        # One of them may be the cause: alone, it fails alone.
        alone = [self.run([part]) for part in parts]
        timings = [executed.timing for executed in alone]
        summed = Timing(*[sum(each) for each in zip(*timings, strict=True)])
        return Executed([executed.results[0] for executed in alone], summed)

    def _run(self, parts: Sequence[Inputs]) -> Executed:
        start_ns = time.perf_counter_ns()
        columns, counts = self._columns(parts)
        rows = sum(counts)
        form = self.forms.of(rows)
        batch = form.put(columns, rows)
        input_ns = time.perf_counter_ns()
        scores = form.compute(batch)
        infer_ns = time.perf_counter_ns()
        results = _split(self.features.answers(scores), counts)
        end_ns = time.perf_counter_ns()
        if self.pace is not None:
            self.pace.observe(rows, (end_ns - start_ns) / 1e9)
        return Executed(
            results, Timing(input_ns - start_ns, infer_ns - input_ns, end_ns - infer_ns)
        )

    def _columns(self, parts: Sequence[Inputs]) -> tuple[Columns, Sequence[int]]:
        """The batch as forms take it, and the rows of each request."""
        if (joined := SoleRows.joined(parts)) is not None:
            rows, counts = joined
            return [[rows]], counts
        name = self._first_name
        return self.features.columns(parts), [len(part[name]) for part in parts]

    def answer(self, inputs: Inputs) -> Mapping[str, Array]:
        """One request's answer; raises what its batch raises."""
        (result,) = self._run([inputs]).results
        if isinstance(result, Exception):  # _run raises instead; for the type checker
            raise result
        return result


def _split(answers: Mapping[str, Array], counts: Sequence[int]) -> list[RequestOutputs]:
    """The answers of each request, as views of the batch's."""
    whole = Outputs(answers)
    stops = list(itertools.accumulate(counts))
    return [
        RequestOutputs(whole, stop - count, stop) for stop, count in zip(stops, counts, strict=True)
    ]
