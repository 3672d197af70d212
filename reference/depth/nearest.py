"""How many points of two clouds have a point of the other nearer than a tenth of a metre.

Each squared distance that decides is `(dx*dx + dy*dy) + dz*dz`, every operation rounded to float32,
as in the organisers' brute force: numba compiles without fastmath, so nothing is fused or
reordered. What saves the time is which pairs are looked at. The points are sorted into cubes, and
64 cubes are a cell: a word has a bit for each that holds points, and the others that may be near
are found a word at a time. The cells of both clouds are in one order, in which those around a cell
are followed as it moves on. A pair of cubes whose bounding boxes are wholly within the distance, or
wholly beyond it, is settled without a look at its points.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reference.kernels import kernel

Points = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
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
_LAST = float((1 << 20) - 16)  # points beyond this cube share it: slower, and still right
_FEW = 8  # so many pairs of points are looked at sooner than their boxes
_DIGIT = 11  # bits that are sorted by at once
_LANES = 32  # points compared at once; of fewer, LLVM makes no vector instructions


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
    """A cloud by cube: its points (3, N), where each cube starts, and the corners of what it holds.

    Of each cell, `keys` has its place, in order, `words` the cubes that hold points, and `first`
    is the first of them.
    """

    points: Points
    starts: Ints
    boxes: Points
    keys: Ints
    words: Words
    first: Ints


@kernel
def count_near(a: Points, b: Points) -> tuple[int, int]:
    """How many points of `a` (N, 3) have one of `b` (M, 3) near, and of `b` one of `a`.

    float32 metres. A point that is not finite is near nothing; nothing is near to a cloud whose
    first point is NaN, with which the brute force starts and which no distance is less than.
    """
    low, high = _common_box(a, b)
    bits = np.zeros(3, np.int64)
    for axis in range(3):
        while _step(max(high[axis] - low[axis], 0.0)) // 4 + 1 >> bits[axis]:
            bits[axis] += 1
    cloud_a, cloud_b = _sort(a, low, high, bits), _sort(b, low, high, bits)
    waiting = np.empty(max(len(a), len(b)), np.int64)
    near_a = near_b = 0
    if len(b) > 0 and not np.isnan(b[0]).any():
        near_a = _count(cloud_a, cloud_b, bits, waiting)
    if len(a) > 0 and not np.isnan(a[0]).any():
        near_b = _count(cloud_b, cloud_a, bits, waiting)
    return near_a, near_b


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
def _step(metres: float) -> int:
    """The cube along an axis; there is a cell before the first and one behind the last."""
    return int(min(metres * (1 / _EDGE), _LAST)) + 4


@kernel
def _sort(points: Points, low: Corner, high: Corner, bits: Ints) -> _Cloud:
    """The points of the box by cube; a cell's key has so many bits an axis."""
    places, order = _places(points, low, high, bits)
    places, order = _by_place(places, order, bits.sum() + 6)
    cubes = cells = 0
    last = np.int64(-1)
    for place in places:
        cubes += place != last
        cells += place >> 6 != last >> 6
        last = place
    ordered, boxes = np.empty((3, len(order)), np.float32), np.empty((cubes, 6), np.float32)
    starts, first = np.empty(cubes + 1, np.int64), np.empty(cells + 1, np.int64)
    keys, words = np.empty(cells, np.int64), np.zeros(cells, np.uint64)
    cell, key = -1, np.int64(-1)
    end = 0
    for cube in range(cubes):
        start, place = end, places[end]
        left, top, front = points[order[start]]
        right, bottom, back = left, top, front
        while end < len(places) and places[end] == place:
            x, y, z = points[order[end]]
            ordered[0, end], ordered[1, end], ordered[2, end] = x, y, z
            left, right = min(left, x), max(right, x)
            top, bottom = min(top, y), max(bottom, y)
            front, back = min(front, z), max(back, z)
            end += 1
        starts[cube] = start
        boxes[cube, 0], boxes[cube, 1], boxes[cube, 2] = left, top, front
        boxes[cube, 3], boxes[cube, 4], boxes[cube, 5] = right, bottom, back
        if place >> 6 != key:
            cell, key = cell + 1, place >> 6
            keys[cell], first[cell] = key, cube
        words[cell] |= np.uint64(1) << np.uint64(place & 63)
    starts[cubes], first[cells] = end, cubes
    return _Cloud(ordered, starts, boxes, keys, words, first)


@kernel
def _places(points: Points, low: Corner, high: Corner, bits: Ints) -> tuple[Ints, Indices]:
    """The cube of each point in the box, 64 to a cell, and which point it is."""
    places, order = np.empty(len(points), np.int64), np.empty(len(points), np.int32)
    left, top, front = low[0], low[1], low[2]
    right, bottom, back = high[0], high[1], high[2]
    count = 0
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if left <= x <= right and top <= y <= bottom and front <= z <= back:
            across, down, along = _step(x - left), _step(y - top), _step(z - front)
            key = ((across >> 2) << bits[1] | (down >> 2)) << bits[2] | (along >> 2)
            places[count] = key << 6 | (across & 3) << 4 | (down & 3) << 2 | (along & 3)
            order[count] = i
            count += 1
    return places[:count], order[:count]


@kernel
def _by_place(places: Ints, order: Indices, bits: int) -> tuple[Ints, Indices]:
    """Both in the order of the places, which have so many bits: a radix sort."""
    passes = (bits + _DIGIT - 1) // _DIGIT
    digit = (bits + passes - 1) // passes
    mask = (1 << digit) - 1
    spare_places, spare_order = np.empty_like(places), np.empty_like(order)
    for shift in range(0, bits, digit):
        ends = np.zeros((1 << digit) + 1, np.int64)
        for i in range(len(places)):
            ends[(places[i] >> shift & mask) + 1] += 1
        ends = np.cumsum(ends)
        for i in range(len(places)):
            to = ends[places[i] >> shift & mask]
            ends[places[i] >> shift & mask] = to + 1
            spare_places[to], spare_order[to] = places[i], order[i]
        places, spare_places = spare_places, places
        order, spare_order = spare_order, order
    return places, order


@kernel
def _ones(word: np.uint64) -> np.int64:
    """How many bits of the word are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    pairs = np.uint64(0x3333333333333333)
    word = (word & pairs) + ((word >> np.uint64(2)) & pairs)
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _count(own: _Cloud, other: _Cloud, bits: Ints, waiting: Ints) -> int:
    """How many points of one cloud have one of the other near."""
    near = 0
    heads = np.zeros(9, np.int64)
    words, first = np.empty(27, np.uint64), np.empty(27, np.int64)
    for cell in range(len(own.keys)):
        some = False
        for column in range(9):
            x, y = column // 3 - 1, column % 3 - 1
            key = own.keys[cell] + ((x << bits[1]) + y << bits[2]) - 1
            at = heads[column]
            while at < len(other.keys) and other.keys[at] < key:
                at += 1
            heads[column] = at
            for side in range(3 * column, 3 * column + 3):
                words[side] = 0
                if at < len(other.keys) and other.keys[at] == key:
                    words[side], first[side] = other.words[at], other.first[at]
                    some = True
                    at += 1
                key += 1
        if some:
            near += _count_in(own, other, cell, words, first, waiting)
    return near


@kernel
def _count_in(
    own: _Cloud, other: _Cloud, cell: int, words: Words, first: Ints, waiting: Ints
) -> int:
    """How many of a cell's points do; `words` and `first` are of the other's 27 cells there."""
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
            there = words[side] & _LOOK_AT[place, look]
            while there and left:
                before = ~there & (there - np.uint64(1))
                there &= there - np.uint64(1)
                against = first[side] + _ones(words[side] & before)
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
                    at = waiting[i]
                    x, y, z = own.points[0, at], own.points[1, at], own.points[2, at]
                    if _any_near(x, y, z, other.points, begin, end, other.boxes[against]):
                        near += 1
                    else:
                        waiting[still] = at
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
def _any_near(
    x: np.float32, y: np.float32, z: np.float32, others: Points, begin: int, end: int, box: Points
) -> bool:
    across = max(np.float64(box[0]) - x, np.float64(x) - box[3], 0.0)
    down = max(np.float64(box[1]) - y, np.float64(y) - box[4], 0.0)
    along = max(np.float64(box[2]) - z, np.float64(z) - box[5], 0.0)
    if across * across + down * down + along * along > _SURELY_FAR:
        return False
    xs, ys, zs = others[0], others[1], others[2]
    while begin + _LANES <= end:
        last = begin + _LANES
        these_x, these_y, these_z = xs[begin:last], ys[begin:last], zs[begin:last]
        near = np.int32(0)
        for i in range(_LANES):
            dx, dy, dz = these_x[i] - x, these_y[i] - y, these_z[i] - z
            near |= np.int32((dx * dx + dy * dy) + dz * dz < _NEAR)
        if near:
            return True
        begin = last
    for i in range(begin, end):
        dx, dy, dz = xs[i] - x, ys[i] - y, zs[i] - z
        if (dx * dx + dy * dy) + dz * dz < _NEAR:
            return True
    return False
