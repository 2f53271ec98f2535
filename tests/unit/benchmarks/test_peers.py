"""The other stream processors."""

import re

import pytest

from benchmarks.peers.__main__ import CASES, DEFAULTS, PEERS, Peer
from benchmarks.settings import read_settings
from jobs.settings import SettingError
from local.settings import REPOSITORY

FOLDER = REPOSITORY / "benchmarks" / "peers"


@pytest.mark.parametrize("peer", PEERS.values(), ids=list(PEERS))
def test_a_peer_has_a_file_a_pinned_package_and_a_guarantee_for_each_part(peer: Peer) -> None:
    assert (FOLDER / f"{peer.module}.py").is_file()
    pinned = re.findall(rf"^{peer.package}==\S+", (FOLDER / "requirements.in").read_text(), re.MULTILINE)
    assert len(pinned) == 1
    assert f"{pinned[0]} \\" in (FOLDER / "requirements.txt").read_text().splitlines()
    assert set(peer.guarantees) == set(CASES)


def test_one_part_can_be_chosen() -> None:
    assert read_settings({}, CASES, DEFAULTS).cases == CASES
    assert read_settings({"CASES": "aggregator"}, CASES, DEFAULTS).cases == ("aggregator",)
    with pytest.raises(SettingError, match="CASES"):
        read_settings({"CASES": "latency"}, CASES, DEFAULTS)
