"""What the rules of a package for Genie are given, and why they are skipped without it."""

from collections.abc import Callable
from functools import partial, wraps

from conformance.rulebook import Verdict, could_not_run, rule, skipped
from reference.aigc.package import INPUTS, Package
from reference.errors import SubmissionError
from reference.npu.toolchain import find_toolchain

Check = Callable[[Package], Verdict]


package_rule = partial(rule, needs="package")


def with_inputs(check: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Gives it what inputs.json says, last."""

    @wraps(check)
    def judge(e: Package, *more: object) -> Verdict:
        try:
            inputs = e.inputs
        except SubmissionError:
            return skipped(f"not looked at: {INPUTS} cannot be read, see AIG-5")
        return check(e, *more, inputs)

    return judge


def with_binaries(check: Callable[..., Verdict]) -> Check:
    """Gives it what the context binaries say, where a tool for that is installed."""

    @wraps(check)
    def judge(e: Package) -> Verdict:
        try:
            find_toolchain()
        except SubmissionError as error:
            return skipped(f"{error.problem}: {error.remedy}")
        try:
            found = e.binaries
        except SubmissionError as error:
            return could_not_run(error)
        return check(e, found)

    return judge
