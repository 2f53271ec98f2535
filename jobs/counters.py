"""The counters of a document. No I/O."""

from typing import NamedTuple


class Counters(NamedTuple):
    """Numbers of people worldwide; *new* is since midnight GMT. None: the page has no value (blank, N/A, no column)."""

    total_cases_count: int | None
    total_deaths_count: int | None
    total_recovered_count: int | None
    new_cases_count: int | None
    new_deaths_count: int | None
    new_recovered_count: int | None
    active_cases_count: int | None
    critical_cases_count: int | None
