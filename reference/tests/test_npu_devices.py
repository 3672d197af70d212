"""The device table."""

from collections import Counter

import pytest

from reference.errors import SubmissionError
from reference.npu.devices import all_devices, find_device, marketing_name
from reference.registry import all_tracks


def test_names_are_unique() -> None:
    names = Counter(name.lower() for d in all_devices() for name in (d.name, *d.also))
    assert [name for name, count in names.items() if count > 1] == []


def test_one_chip_is_the_same_everywhere() -> None:
    facts = {(d.soc_model, d.soc, d.hexagon, d.vtcm_mb, d.float16) for d in all_devices()}
    assert len(facts) == len({fact[0] for fact in facts}) == len({fact[1] for fact in facts})


@pytest.mark.parametrize("track", all_tracks().values(), ids=all_tracks())
def test_the_device_of_each_track(track) -> None:
    assert find_device(track.device).float16


@pytest.mark.parametrize(
    ("asked", "name", "soc_model"),
    [
        ("Samsung Galaxy S24", "Samsung Galaxy S24", 57),
        ("Samsung Galaxy S24 (Family)", "Samsung Galaxy S24", 57),
        ("  samsung  galaxy s24 ultra ", "Samsung Galaxy S24", 57),
        ("XR2 Gen 2 (Proxy)", "XR2 Gen 2 (Proxy)", 53),
        ("xr2 gen 2", "XR2 Gen 2 (Proxy)", 53),
        ("RB3 Gen 2 (Proxy)", "Dragonwing RB3 Gen 2 Vision Kit", 93),
        ("SA8775 (Proxy)", "SA8775P ADP", 52),
        ("IQ-9075 EVK", "Dragonwing IQ-9075 EVK", 77),
        ("QCS6490 (Proxy)", "QCS6490 (Proxy)", 93),
    ],
)
def test_names(asked: str, name: str, soc_model: int) -> None:
    device = find_device(asked)
    assert (device.name, device.soc_model) == (name, soc_model)


@pytest.mark.parametrize("device", all_devices(), ids=lambda d: d.name)
def test_every_name_finds_its_device(device) -> None:
    for name in (device.name, *device.also):
        assert find_device(name) is device
        assert find_device(name.upper()) is device


def test_unknown_device_lists_close_names() -> None:
    with pytest.raises(SubmissionError) as raised:
        find_device("Samsung Galaxy S42")
    assert raised.value.problem == "unknown device 'Samsung Galaxy S42'"
    assert "Samsung Galaxy S24" in raised.value.remedy
    assert "QCS" not in raised.value.remedy
    assert raised.value.remedy.startswith("the closest are ")
    assert raised.value.remedy.endswith(f"; lpcvc devices lists all {len(all_devices())}")


@pytest.mark.parametrize("name", ["", "!!!", "(Proxy)"])
def test_unlike_any_device_says_where_all_are(name: str) -> None:
    with pytest.raises(SubmissionError) as raised:
        find_device(name)
    assert raised.value.remedy == f"lpcvc devices lists all {len(all_devices())}"


@pytest.mark.parametrize(
    ("name", "chip"),
    [
        ("Samsung Galaxy S24 (Family)", "Snapdragon® 8 Gen 3 Mobile"),
        ("RB3 Gen 2 (Proxy)", "Qualcomm® QCS6490 (Proxy)"),
        ("Dragonwing RB3 Gen 2 Vision Kit", "Qualcomm® QCS6490"),
        ("XR2 Gen 2 (Proxy)", "Qualcomm® QCS8450 (Proxy)"),
        ("SA8255 (Proxy)", "Qualcomm® SA8255P (Proxy)"),
    ],
)
def test_a_chip_has_the_name_of_the_cards(name: str, chip: str) -> None:
    assert marketing_name(name) == chip
    assert all(device.marketing for device in all_devices())
