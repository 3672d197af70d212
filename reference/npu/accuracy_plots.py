"""Pictures of the held-out latency estimates, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from reference.errors import SubmissionError
from reference.install import install_command
from reference.npu.accuracy import HeldOut
from reference.npu.calibration import ATTENTION, CLASSES

_COLOURS = dict(zip(CLASSES, ("tab:blue", "tab:orange"), strict=True))


def plot_held_out(found: Sequence[HeldOut], folder: Path) -> list[Path]:
    """Writes `held-out-<kind>.png` for each kind of runtime: published against estimated latency.

    A panel for each device; the model's family was left out. Returns the files.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SubmissionError("plots need matplotlib", install_command("plot")) from None
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind in sorted({one.kind for one in found}):
        devices = sorted({one.device for one in found if one.kind == kind})
        columns = min(len(devices), 5)
        rows = -(-len(devices) // columns)
        figure = Figure(figsize=(3.4 * columns, 3.4 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).flat
        for panel, device in zip(axes, devices, strict=False):
            _panel(panel, [one for one in found if (one.kind, one.device) == (kind, device)])
            panel.set_title(device, fontsize=9)
        figure.supxlabel("estimate without the model's family, with its 80 % interval (ms)")
        figure.supylabel("published (ms)")
        path = folder / f"held-out-{kind}.png"
        figure.savefig(path, dpi=110)
        files.append(path)
    return files


def _panel(panel: "object", found: Sequence[HeldOut]) -> None:
    for name, colour in _COLOURS.items():
        own = [one for one in found if one.row.model_class == name]
        errors = [
            [one.family.ms - one.family.low for one in own],
            [one.family.high - one.family.ms for one in own],
        ]
        panel.errorbar(  # type: ignore[attr-defined]
            [one.family.ms for one in own],
            [one.row.ms for one in own],
            xerr=errors,
            fmt="s" if name == ATTENTION else "o",
            markersize=3,
            linewidth=0.6,
            color=colour,
            label=name,
        )
    ends = [f(one.row.ms for one in found) for f in (min, max)]
    panel.plot(ends, ends, color="0.6", linewidth=0.8, zorder=0)  # type: ignore[attr-defined]
    panel.set(xscale="log", yscale="log")  # type: ignore[attr-defined]
    panel.legend(fontsize=7)  # type: ignore[attr-defined]
