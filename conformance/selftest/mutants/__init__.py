"""Defects as data: each is one change to a conforming model and the rules that it must break."""

from conformance.selftest.mutants import (
    action,
    behaviour,
    classification,
    files,
    inputs,
    modules,
    numbers,
    operators,
    operators_known,
    outputs,
    packages,
    stored,
    values,
)
from conformance.selftest.mutants.mutant import Mutant

MUTANTS = [
    *inputs.MUTANTS,
    *outputs.MUTANTS,
    *files.MUTANTS,
    *operators.MUTANTS,
    *operators_known.MUTANTS,
    *numbers.MUTANTS,
    *behaviour.MUTANTS,
    *values.MUTANTS,
    *modules.MUTANTS,
    *classification.MUTANTS,
    *stored.MUTANTS,
    *packages.MUTANTS,
    *action.MUTANTS,
]

__all__ = ["MUTANTS", "Mutant"]
