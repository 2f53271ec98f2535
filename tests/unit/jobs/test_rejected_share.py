"""When a collector that rejects nearly everything stops."""

import pytest

from jobs.rejected_share import FRAMES, RejectedShare


@pytest.mark.parametrize(
    ("limit", "groups", "expected"),
    [
        (0.9, [(FRAMES, FRAMES)], [True]),
        (0.9, [(FRAMES, 901)], [True]),
        (0.9, [(FRAMES, 900)], [False]),
        (0.9, [(FRAMES - 1, FRAMES - 1), (1, 0)], [False, True]),
        (0.9, [(FRAMES - 1, FRAMES - 1), (500, 0)], [False, False]),
        (0.9, [(FRAMES, 0), (FRAMES, FRAMES)], [False, True]),  # each thousand by itself
        (0.9, [(FRAMES, FRAMES), (10, 10)], [True, False]),
        (0.0, [(FRAMES, 0)], [False]),
        (0.0, [(FRAMES, 1)], [True]),
        (1.0, [(FRAMES, FRAMES)] * 3, [False] * 3),
        (0.9, [(0, 0)] * 3, [False] * 3),
    ],
)
def test_share(limit: float, groups: list[tuple[int, int]], expected: list[bool]) -> None:
    share = RejectedShare(limit)
    assert [share.is_above(*group) for group in groups] == expected
