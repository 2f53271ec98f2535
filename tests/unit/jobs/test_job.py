"""The error messages of the jobs' entry points."""

import pytest

from jobs.aggregator_stream import stored_documents
from jobs.settings import SettingError, read_aggregator_settings


@pytest.mark.parametrize(
    "uri", ["mongodb://me:s3/cret@host", "mongodb://me:s3@cret@host", "mongodb://me:s3cret@host:x"]
)
def test_an_address_that_the_driver_does_not_take_is_not_shown(uri: str) -> None:
    with pytest.raises(SettingError) as caught:
        stored_documents(read_aggregator_settings({"MONGODB_URI": uri}))
    assert str(caught.value).startswith("MONGODB_URI (not shown): an address that MongoDB's driver takes is allowed")
    assert "s3" not in str(caught.value)
    assert caught.value.__suppress_context__
