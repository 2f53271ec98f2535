"""What an error of a job's entry point shows."""

import pytest

from jobs.entry import hiding

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
