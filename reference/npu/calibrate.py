"""`python -m reference.npu.calibrate`: fits the latency estimate again, and says how good it is.

It writes `fixtures/latency/calibration.json`, `errors.md` and `errors-w8a8.md` beside it, and with
`--plots` pictures of held-out estimates into a folder.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from reference.data import fixture
from reference.npu.accuracy import accuracy_tables, held_out_estimates
from reference.npu.fit import W8A8, calibrate, read_tables

_ERRORS, _ERRORS_W8A8 = "errors.md", "errors-w8a8.md"


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="made if it is not there")
    options = parser.parse_args()
    tables, quantised = read_tables(), read_tables(W8A8)
    folder = fixture("latency")
    made = json.dumps(dataclasses.asdict(calibrate(tables, quantised)), indent=1) + "\n"
    (folder / "calibration.json").write_text(made, encoding="utf-8")
    held = held_out_estimates(tables)
    (folder / _ERRORS).write_text(accuracy_tables(held), encoding="utf-8")
    integers = accuracy_tables(held_out_estimates(quantised))
    (folder / _ERRORS_W8A8).write_text(integers, encoding="utf-8")
    if options.plots:
        from reference.npu.accuracy_plots import plot_held_out

        plot_held_out(held, options.plots)


if __name__ == "__main__":
    main()
