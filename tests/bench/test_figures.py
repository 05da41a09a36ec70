"""What the table of the comparison says, from small logs."""

from bench.killing.figures import Figures, Kill, Note, What, figures

PID, OTHER = 10, 11


def note(at_s: float, what: What, job: str = "job-0", pid: int = PID) -> Note:
    return Note(at_s, what, job, pid, 0)


def look(*notes: Note, kills: tuple[Kill, ...] = (), failed: tuple[str, ...] = ()) -> Figures:
    return figures(notes, kills, failed, None)


def test_a_job_that_ran_once_is_neither_lost_nor_repeated() -> None:
    found = look(note(0, "acked"), note(1, "begin"), note(3, "end"))

    assert found == Figures(1, 0, 0, 0, 0, 0, 0, 0)


def test_an_acknowledged_job_whose_effect_never_came_is_lost() -> None:
    found = look(note(0, "acked"), note(1, "begin"), failed=("job-0", "job-9"))

    assert (found.lost, found.lost_but_told) == (1, 1)


def test_a_job_that_was_never_acknowledged_cannot_be_lost() -> None:
    found = look(note(0, "refused"), note(1, "begin"))

    assert (found.acked, found.refused, found.lost) == (0, 1, 0)


def test_an_effect_that_came_twice_is_doubled_and_one_that_was_cut_is_not() -> None:
    cut = look(note(0, "acked"), note(1, "begin"), note(5, "begin"), note(7, "end"))
    twice = look(note(1, "begin"), note(3, "end"), note(5, "begin"), note(7, "end"))

    assert (cut.begun_again, cut.ended_again, cut.doubled) == (1, 0, 0)
    assert (twice.begun_again, twice.ended_again, twice.doubled) == (1, 1, 1)


def test_results_count_instead_of_effects_where_a_queue_keeps_them() -> None:
    notes = [note(0, "acked"), note(1, "end"), note(2, "end")]

    assert figures(notes, (), (), {"job-0": 1}).doubled == 0
    assert figures(notes, (), (), {"job-0": 2}).doubled == 1
    assert figures(notes, (), (), {"job-0": 0}).lost == 1


def test_recovery_is_the_time_from_a_kill_at_work_to_the_next_beginning() -> None:
    kill = Kill(2.0, frozenset({PID}))
    found = look(note(1, "begin"), note(9, "begin", pid=OTHER), kills=(kill,))

    assert (found.hits, found.recovery()) == (1, (7.0, 7.0))


def test_a_killed_job_that_never_began_again_is_a_hit_without_a_recovery() -> None:
    found = look(note(1, "begin"), kills=(Kill(2.0, frozenset({PID})),))

    assert (found.hits, found.recovery()) == (1, None)


def test_a_kill_that_met_no_job_is_not_counted() -> None:
    idle = Kill(5.0, frozenset({PID}))
    other = Kill(2.0, frozenset({OTHER}))
    just_ended = Kill(2.9, frozenset({PID}))
    notes = (note(1, "begin"), note(3, "end"))

    assert look(*notes, kills=(idle, other, just_ended)).hits == 0
