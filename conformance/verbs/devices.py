"""List the devices that can be compiled for offline."""

import click

from conformance.verbs import Found, in_json
from reference.npu.devices import all_devices


@click.command()
@in_json
def command() -> Found:
    """List the devices that can be compiled for offline."""
    found = all_devices()
    width = max(len(device.name) for device in found)
    lines = []
    for device in found:
        also = f"; also {', '.join(device.also)}" if device.also else ""
        numbers = "float16" if device.float16 else "quantised models alone"
        chip = f"{device.soc}, Hexagon {device.hexagon}, {numbers}"
        lines.append(f"{device.name:<{width}}  {chip}{also}")
    return "\n".join(lines), 0, found
