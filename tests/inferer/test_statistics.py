import pytest

from inferer.statistics import Histogram, batch_size_label


@pytest.mark.parametrize(
    ("rows", "label"), [(1, 1), (31, 31), (32, 32), (33, 64), (64, 64), (65, 128), (1000, 1024)]
)
def test_large_batch_sizes_share_an_entry(rows: int, label: int) -> None:
    assert batch_size_label(rows) == label


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 7.0):
        histogram.observe(value)

    assert histogram.cumulative() == [("1.0", 2.0), ("2.0", 4.0), ("+Inf", 5.0)]
    assert histogram.sum == 12.0
