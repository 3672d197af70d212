"""How many points of two clouds have a point of the other nearer than a tenth of a metre.

Each squared distance that decides is `(dx*dx + dy*dy) + dz*dz`, every operation rounded to float32,
as in the organisers' brute force: numba compiles without fastmath, so nothing is fused or
reordered. What saves the time is which pairs are looked at. The points are sorted into cubes, and
64 cubes are a cell: a word has a bit for each that holds points, and the others that may be near
are found a word at a time. A pair of cubes whose bounding boxes are wholly within the distance, or
wholly beyond it, is settled without a look at its points.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference.kernels import kernel

Points = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Corner = npt.NDArray[np.float64]

# For a float32 x, sqrt(x) < float32(0.1) exactly where x < float32(0.01).
_NEAR = np.float32(0.01)

# Bounds are float64: beyond these no rounding of a float32 distance matters.
_SURELY_NEAR = 0.01 * (1 - 1e-5)
_SURELY_FAR = 0.01 * (1 + 1e-5)

_EDGE = 0.0578  # metres: what is within 0.1 is at most two cubes away, and the far corners are not
_MARGIN = 0.11  # metres around a cloud, more than the distance
_BITS = 18  # of a cell's key, an axis; a cell has four cubes along each
_LAST = float(4 * (1 << _BITS) - 16)  # points beyond this cube share it: slower, and still right
_FEW = 8  # so many pairs of points are looked at sooner than their boxes

_UNKNOWN, _NOWHERE = -2, -1
# In the key of a cell a step along an axis is an addition; these are those to the 27 around it.
_STEPS: Ints = np.array(
    [(x << 2 * _BITS) + (y << _BITS) + z for x, y, z in product((-1, 0, 1), repeat=3)], np.int64
)


def _looks() -> tuple[Ints, Words]:
    """Where each of a cell's cubes looks, nearest first: one of the 27 cells, and which cubes."""
    cells, words = np.zeros((64, 28), np.int64), np.zeros((64, 28), np.uint64)
    steps = np.mgrid[-2:3, -2:3, -2:3].reshape(3, -1).T
    gaps = (np.maximum(np.abs(steps) - 1, 0) ** 2).sum(axis=1) * _EDGE**2
    ranks = np.where(gaps > 0, 4, np.abs(steps).sum(axis=1))
    for cube, place in enumerate(np.ndindex(4, 4, 4)):
        found: dict[tuple[int, int], int] = {}
        for step, gap, rank in zip(steps, gaps, ranks, strict=True):
            if gap < 0.01:
                cell, (x, y, z) = np.divmod(place + step, 4)
                key = int(rank), int((cell + 1) @ (9, 3, 1))
                found[key] = found.get(key, 0) | 1 << int(16 * x + 4 * y + z)
        for at, ((_, look), word) in enumerate(sorted(found.items())):
            cells[cube, at], words[cube, at] = look, word
    return cells, words


_LOOK_IN, _LOOK_AT = _looks()


class _Cloud(NamedTuple):
    """A cloud by cube: its points, where each cube starts, and the corners of what it holds.

    Of each cell, `words` has the cubes that hold points, and `first` is the first of them.
    """

    points: Points
    starts: Ints
    boxes: Points
    words: Words
    first: Ints


@kernel
def count_near(a: Points, b: Points) -> tuple[int, int]:
    """How many points of `a` (N, 3) have one of `b` (M, 3) near, and of `b` one of `a`.

    float32 metres. A point that is not finite is near nothing; nothing is near to a cloud whose
    first point is NaN, with which the brute force starts and which no distance is less than.
    """
    low, high = _common_box(a, b)
    table = np.full((1 << 12, 2), -1, np.int64)
    places_a, table, count = _assign(a, low, high, table, 0)
    places_b, table, count = _assign(b, low, high, table, count)
    cloud_a, cloud_b = _sort(a, places_a, count), _sort(b, places_b, count)
    keys = np.empty(count, np.int64)
    for at in range(len(table)):
        if table[at, 0] >= 0:
            keys[table[at, 1]] = table[at, 0]
    waiting = np.empty(max(len(a), len(b)), np.int64)
    around = np.empty(27, np.int64)
    to_b = len(b) > 0 and not np.isnan(b[0]).any()
    to_a = len(a) > 0 and not np.isnan(a[0]).any()
    near = np.zeros(2, np.int64)
    for cell in range(count):
        around[:] = _UNKNOWN
        for side, (own, other, open) in enumerate(
            ((cloud_a, cloud_b, to_b), (cloud_b, cloud_a, to_a))
        ):
            if open:
                near[side] += _count(own, other, cell, keys[cell], table, around, waiting)
    return near[0], near[1]


@kernel
def _common_box(a: Points, b: Points) -> tuple[Corner, Corner]:
    """The corners of the box in which a point of either cloud can have the other near."""
    low, high = np.full(3, -np.inf), np.full(3, np.inf)
    for points in (a, b):
        for axis in range(3):
            least, most = np.inf, -np.inf
            for i in range(len(points)):
                value = points[i, axis]
                if np.isfinite(value):
                    least, most = min(least, value), max(most, value)
            low[axis] = max(low[axis], least - _MARGIN)
            high[axis] = min(high[axis], most + _MARGIN)
    return low, high


@kernel
def _assign(
    points: Points, low: Corner, high: Corner, table: Ints, count: int
) -> tuple[Ints, Ints, int]:
    """Each point's cube, 64 to a cell, -1 outside the box, with the grown table of cells."""
    places = np.empty(len(points), np.int64)
    last_key, last_cell = -1, -1
    left, top, front = low[0], low[1], low[2]
    right, bottom, back = high[0], high[1], high[2]
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if not (left <= x <= right and top <= y <= bottom and front <= z <= back):
            places[i] = -1
            continue
        across, down, along = _step(x - left), _step(y - top), _step(z - front)
        key = ((across >> 2) << _BITS | (down >> 2)) << _BITS | (along >> 2)
        if key != last_key:
            if 2 * count >= len(table):
                table = _grow(table)
            at = _find(table, key)
            if table[at, 0] < 0:
                table[at, 0], table[at, 1] = key, count
                count += 1
            last_key, last_cell = key, table[at, 1]
        places[i] = last_cell << 6 | (across & 3) << 4 | (down & 3) << 2 | (along & 3)
    return places, table, count


@kernel
def _step(metres: float) -> int:
    return int(min(metres * (1 / _EDGE), _LAST)) + 4


@kernel
def _find(table: Ints, key: int) -> int:
    """Where in the table the key is, or where it belongs."""
    mask = len(table) - 1
    # Eight cells in a row lie side by side, for the neighbours are asked for together.
    at = ((((key >> 3) * 0x1E3779B97F4A7C15) >> 32) << 3) + (key & 7) & mask
    while table[at, 0] != key and table[at, 0] >= 0:
        at = (at + 1) & mask
    return at


@kernel
def _grow(table: Ints) -> Ints:
    larger = np.full((4 * len(table), 2), -1, np.int64)
    for i in range(len(table)):
        if table[i, 0] >= 0:
            at = _find(larger, table[i, 0])
            larger[at, 0], larger[at, 1] = table[i, 0], table[i, 1]
    return larger


@kernel
def _sort(points: Points, places: Ints, cells: int) -> _Cloud:
    """The points of the box by cube."""
    words = np.zeros(cells, np.uint64)
    for place in places:
        if place >= 0:
            words[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
    first = np.zeros(cells + 1, np.int64)
    for cell in range(cells):
        first[cell + 1] = first[cell] + _ones(words[cell])
    cubes = np.empty(len(points), np.int64)
    starts = np.zeros(first[cells] + 1, np.int64)
    for i in range(len(points)):
        cell = places[i] >> 6
        if cell >= 0:
            bit = np.uint64(1) << np.uint64(places[i] & 63)
            cubes[i] = first[cell] + _ones(words[cell] & (bit - np.uint64(1)))
            starts[cubes[i] + 1] += 1
    starts = np.cumsum(starts)
    ordered = np.empty((starts[-1], 3), np.float32)
    boxes = np.empty((first[cells], 6), np.float32)
    boxes[:, :3] = np.inf
    boxes[:, 3:] = -np.inf
    ends = starts.copy()
    for i in range(len(points)):
        if places[i] >= 0:
            cube = cubes[i]
            to = ends[cube]
            ends[cube] = to + 1
            for axis in range(3):
                value = points[i, axis]
                ordered[to, axis] = value
                boxes[cube, axis] = min(boxes[cube, axis], value)
                boxes[cube, 3 + axis] = max(boxes[cube, 3 + axis], value)
    return _Cloud(ordered, starts, boxes, words, first)


@kernel
def _ones(word: np.uint64) -> np.int64:
    """How many bits of the word are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _count(
    own: _Cloud, other: _Cloud, cell: int, key: int, table: Ints, around: Ints, waiting: Ints
) -> int:
    """How many points of a cell have one of the others near."""
    near = 0
    word = own.words[cell]
    for cube in range(own.first[cell], own.first[cell + 1]):
        place = _ones(~word & (word - np.uint64(1)))
        word &= word - np.uint64(1)
        left = own.starts[cube + 1] - own.starts[cube]
        for i in range(left):
            waiting[i] = own.starts[cube] + i
        for look in range(_LOOK_IN.shape[1]):
            if left == 0 or not _LOOK_AT[place, look]:
                break
            side = _LOOK_IN[place, look]
            if around[side] == _UNKNOWN:
                around[side] = table[_find(table, key + _STEPS[side]), 1]
            beside = around[side]
            if beside == _NOWHERE:
                continue
            there = other.words[beside] & _LOOK_AT[place, look]
            while there and left:
                before = ~there & (there - np.uint64(1))
                there &= there - np.uint64(1)
                against = other.first[beside] + _ones(other.words[beside] & before)
                begin, end = other.starts[against], other.starts[against + 1]
                if left * (end - begin) > _FEW:
                    least, most = _bounds(own.boxes[cube], other.boxes[against])
                    if least > _SURELY_FAR:
                        continue
                    if most < _SURELY_NEAR:
                        near += left
                        left = 0
                        break
                still = 0
                for i in range(left):
                    point = own.points[waiting[i]]
                    if _any_near(point, other.points, begin, end, other.boxes[against]):
                        near += 1
                    else:
                        waiting[still] = waiting[i]
                        still += 1
                left = still
    return near


@kernel
def _bounds(box: Points, other: Points) -> tuple[float, float]:
    """The least and the largest squared distance between the points of two boxes, float64."""
    least, most = 0.0, 0.0
    for axis in range(3):
        low = np.float64(other[axis]) - np.float64(box[3 + axis])
        high = np.float64(other[3 + axis]) - np.float64(box[axis])
        gap = max(low, -high, 0.0)
        reach = max(-low, high)
        least += gap * gap
        most += reach * reach
    return least, most


@kernel
def _any_near(point: Points, others: Points, begin: int, end: int, box: Points) -> bool:
    x, y, z = point[0], point[1], point[2]
    least = 0.0
    for axis in range(3):
        value = np.float64(point[axis])
        gap = max(box[axis] - value, value - box[3 + axis], 0.0)
        least += gap * gap
    if least > _SURELY_FAR:
        return False
    for i in range(begin, end):
        dx, dy, dz = others[i, 0] - x, others[i, 1] - y, others[i, 2] - z
        if (dx * dx + dy * dy) + dz * dz < _NEAR:
            return True
    return False
