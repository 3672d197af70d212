"""PyTorch submissions whose second run or export is another model."""

from conformance.selftest.mutants.mutant import DEP, Mutant, unchanged

ROOM = "conformance.selftest.mutants.depth_modules"


def _module(name: str, factory: str, *rules: str) -> Mutant:
    return Mutant(name, DEP, unchanged, frozenset(rules), factory=f"{ROOM}:{factory}")


MUTANTS = [
    _module("drifts from run to run", "Drifting", "COM-12"),
    _module("other weights at each call", "Unseeded", "COM-14"),
    _module("a branch that tracing freezes", "Branching", "COM-13"),
]
