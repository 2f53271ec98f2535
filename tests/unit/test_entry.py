"""What an error of a job's entry point shows."""

import pytest

from jobs.aggregator_stream import stored_documents
from jobs.entry import hiding
from jobs.settings import SettingError, read_aggregator_settings

URI = "mongodb://me:it's s3cret@host/?w=majority"


@pytest.mark.parametrize("shown", [URI, URI.replace("'", "''")])
def test_an_error_that_names_a_tables_options_is_shown_without_the_secret(shown: str) -> None:
    with pytest.raises(RuntimeError) as caught, hiding(URI):
        raise LookupError(f"Unable to create a sink. Table options are:\n'uri'='{shown}'")
    assert str(caught.value) == "Unable to create a sink. Table options are:\n'uri'='***'"
    assert caught.value.__suppress_context__  # else the first error is printed as well


def test_another_error_stays() -> None:
    with pytest.raises(LookupError, match="something else"), hiding(URI):
        raise LookupError("something else")


@pytest.mark.parametrize(
    "uri", ["mongodb://me:s3/cret@host", "mongodb://me:s3@cret@host", "mongodb://me:s3cret@host:x"]
)
def test_an_address_that_the_driver_does_not_take_is_not_shown(uri: str) -> None:
    with pytest.raises(SettingError) as caught:
        stored_documents(read_aggregator_settings({"MONGODB_URI": uri}))
    assert str(caught.value).startswith("MONGODB_URI (not shown): an address that MongoDB's driver takes is allowed")
    assert "s3" not in str(caught.value)
    assert caught.value.__suppress_context__
