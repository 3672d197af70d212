"""Each defect breaks exactly the rules it should, and conforming models break none."""

import pytest

from conformance.rulebook import all_rules
from conformance.selftest.assess import assess_models, broken
from conformance.selftest.models import conforming
from conformance.selftest.mutants import MUTANTS, Mutant
from reference.tracks import TRACKS, Track

# Shown elsewhere: on files (test_bad_input) and on PyTorch models (test_torch_submissions).
OTHERWISE = {"COM-1", "COM-12", "COM-13"}


@pytest.mark.parametrize("track", TRACKS.values(), ids=lambda track: track.id)
def test_conforming_models_pass_every_rule(track: Track, tmp_path) -> None:
    verdicts = assess_models(track, {}, tmp_path)
    assert {id: v.outcome for id, v in verdicts.items() if v.outcome != "pass"} == {}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.track}-{m.part}: {m.name}")
def test_mutant_breaks_exactly_its_rules(mutant: Mutant, tmp_path) -> None:
    model = conforming(mutant.track, mutant.part)
    mutant.change(model)
    verdicts = assess_models(TRACKS[mutant.track], {mutant.part: model}, tmp_path)
    assert broken(verdicts) == mutant.rules, {id: verdicts[id] for id in broken(verdicts)}


def test_every_rule_has_a_mutant() -> None:
    shared = {
        rule.id for rule in all_rules().values() for mutant in MUTANTS if rule.id in mutant.rules
    }
    # A rule with one check for all tracks needs one of them broken.
    checks = {all_rules()[id].check for id in shared}
    missing = [r.id for r in all_rules().values() if r.check not in checks]
    assert set(missing) == OTHERWISE
