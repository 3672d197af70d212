"""No honest model is turned away, and what advice it gets is to the point."""

from pathlib import Path

import pytest

from conformance.rulebook import Level, Verdict, all_rules
from conformance.selftest.assess import assess, broken
from conformance.selftest.peers import PEERS, Peer
from reference.registry import all_tracks

pytestmark = pytest.mark.usefixtures("one_process")


def rejected(verdicts: dict[str, Verdict]) -> dict[str, Verdict]:
    """The required and documented rules that failed or had nothing to go by."""
    levels = {rule.id: rule.level for rule in all_rules().values()}
    return {
        id: verdict
        for id, verdict in verdicts.items()
        if verdict.outcome != "pass" and levels[id] != Level.ADVICE
    }


@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(
            peer,
            id=f"{peer.track}: {peer.name}",
            marks=[pytest.mark.slow] if peer.slow else [],
        )
        for peer in PEERS
    ],
)
def test_peer_is_not_rejected(peer: Peer, tmp_path: Path) -> None:
    verdicts = assess(all_tracks()[peer.track], peer.specs(tmp_path), tmp_path / "work")
    assert rejected(verdicts) == {}
    assert broken(verdicts) == peer.warns, {id: verdicts[id] for id in broken(verdicts)}
