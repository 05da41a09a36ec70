"""A data set is not deleted under a job that is being created."""

import pytest

from trainer.api.usage import DatasetUsage
from twofold.errors import NotFound, WrongState

SHA = "ab" * 32


def test_no_deletion_while_a_job_is_created() -> None:
    usage = DatasetUsage()
    with usage.creating("local", SHA), usage.creating("local", SHA):
        with pytest.raises(WrongState), usage.deleting("local", SHA):
            pass
        with usage.deleting("other", SHA):
            pass
    with usage.deleting("local", SHA):
        pass


def test_no_creation_and_no_second_deletion_while_it_is_deleted() -> None:
    usage = DatasetUsage()
    with usage.deleting("local", SHA):
        with pytest.raises(NotFound), usage.creating("local", SHA):
            pass
        with pytest.raises(WrongState), usage.deleting("local", SHA):
            pass
    with usage.creating("local", SHA):
        pass
