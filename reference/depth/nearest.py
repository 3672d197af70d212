"""How many points of two clouds have a point of the other nearer than a tenth of a metre.

Each squared distance that decides is `(dx*dx + dy*dy) + dz*dz`, every operation rounded to float32,
as in the organisers' brute force: numba compiles without fastmath, so nothing is fused or
reordered. What saves the time is which pairs are looked at. The points are sorted into cubes; a
pair of cubes whose bounding boxes are wholly within the distance, or wholly beyond it, is settled
without a look at its points.
"""

import numpy as np
import numpy.typing as npt

from reference.kernels import kernel

Points = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Corner = npt.NDArray[np.float64]

# For a float32 x, sqrt(x) < float32(0.1) exactly where x < float32(0.01).
_NEAR = np.float32(0.01)

# Bounds are float64: beyond these no rounding of a float32 distance matters.
_SURELY_NEAR = 0.01 * (1 - 1e-5)
_SURELY_FAR = 0.01 * (1 + 1e-5)

_EDGE = 0.0578  # metres: what is within 0.1 is at most two cubes away, and the far corners are not
_MARGIN = 0.11  # metres around a cloud, more than the distance
_BITS = 20
_LAST = float((1 << _BITS) - 8)  # points beyond this cube share it: slower, and still right


def _offsets() -> Ints:
    """The cubes that can hold a near point, as steps along each axis, nearest first."""
    steps = np.mgrid[-2:3, -2:3, -2:3].reshape(3, -1).T
    gaps = (np.maximum(np.abs(steps) - 1, 0) ** 2).sum(axis=1) * _EDGE**2
    steps, gaps = steps[gaps < 0.01], gaps[gaps < 0.01]
    return np.ascontiguousarray(steps[np.lexsort(((steps**2).sum(axis=1), gaps))], np.int64)


# In the key of a cube one axis is `_BITS` wide, so that a step is an addition.
_STEPS: Ints = _offsets() @ np.array([1 << 2 * _BITS, 1 << _BITS, 1], np.int64)


@kernel
def count_near(a: Points, b: Points) -> tuple[int, int]:
    """How many points of `a` (N, 3) have one of `b` (M, 3) near, and of `b` one of `a`.

    float32 metres. A point that is not finite is near nothing; nothing is near to a cloud whose
    first point is NaN, with which the brute force starts and which no distance is less than.
    """
    low, high = _common_box(a, b)
    keys = np.full(1 << 14, -1, np.int64)
    slots = np.zeros(1 << 14, np.int64)
    cubes_a, keys, slots, count = _assign(a, low, high, keys, slots, 0)
    cubes_b, keys, slots, count = _assign(b, low, high, keys, slots, count)
    sorted_a, starts_a, boxes_a = _sort(a, cubes_a, count)
    sorted_b, starts_b, boxes_b = _sort(b, cubes_b, count)
    near_a, near_b = 0, 0
    if len(b) and not np.isnan(b[0]).any():
        near_a = _count(sorted_a, starts_a, boxes_a, sorted_b, starts_b, boxes_b, keys, slots)
    if len(a) and not np.isnan(a[0]).any():
        near_b = _count(sorted_b, starts_b, boxes_b, sorted_a, starts_a, boxes_a, keys, slots)
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
def _assign(
    points: Points, low: Corner, high: Corner, keys: Ints, slots: Ints, count: int
) -> tuple[Ints, Ints, Ints, int]:
    """The number of each point's cube, -1 outside the box, with the grown table of cubes."""
    numbers = np.empty(len(points), np.int64)
    last_key, last_number = -1, -1
    left, top, front = low[0], low[1], low[2]
    right, bottom, back = high[0], high[1], high[2]
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        key = -1
        if left <= x <= right and top <= y <= bottom and front <= z <= back:
            key = _step(x - left) << _BITS | _step(y - top)
            key = key << _BITS | _step(z - front)
        if key != last_key:
            last_key, last_number = key, -1
            if key >= 0:
                if 2 * count >= len(keys):
                    keys, slots = _grow(keys, slots)
                at = _find(keys, key)
                if keys[at] < 0:
                    keys[at], slots[at] = key, count
                    count += 1
                last_number = slots[at]
        numbers[i] = last_number
    return numbers, keys, slots, count


@kernel
def _step(metres: float) -> int:
    return int(min(metres * (1 / _EDGE), _LAST)) + 4


@kernel
def _find(keys: Ints, key: int) -> int:
    """Where in the table the key is, or where it belongs."""
    mask = len(keys) - 1
    # Eight cubes in a row lie side by side, for the neighbours are asked for together.
    at = ((((key >> 3) * 0x1E3779B97F4A7C15) >> 32) << 3) + (key & 7) & mask
    while keys[at] != key and keys[at] >= 0:
        at = (at + 1) & mask
    return at


@kernel
def _grow(keys: Ints, slots: Ints) -> tuple[Ints, Ints]:
    larger = np.full(4 * len(keys), -1, np.int64)
    moved = np.zeros(4 * len(keys), np.int64)
    for i in range(len(keys)):
        if keys[i] >= 0:
            at = _find(larger, keys[i])
            larger[at], moved[at] = keys[i], slots[i]
    return larger, moved


@kernel
def _sort(points: Points, numbers: Ints, count: int) -> tuple[Points, Ints, Points]:
    """The points of the box by cube, where each cube starts, and the corners of what it holds."""
    starts = np.zeros(count + 1, np.int64)
    for number in numbers:
        if number >= 0:
            starts[number + 1] += 1
    starts = np.cumsum(starts)
    ordered = np.empty((starts[count], 3), np.float32)
    boxes = np.empty((count, 6), np.float32)
    boxes[:, :3] = np.inf
    boxes[:, 3:] = -np.inf
    ends = starts.copy()
    for i in range(len(points)):
        number = numbers[i]
        if number >= 0:
            to = ends[number]
            ends[number] = to + 1
            for axis in range(3):
                value = points[i, axis]
                ordered[to, axis] = value
                boxes[number, axis] = min(boxes[number, axis], value)
                boxes[number, 3 + axis] = max(boxes[number, 3 + axis], value)
    return ordered, starts, boxes


@kernel
def _count(
    points: Points,
    starts: Ints,
    boxes: Points,
    others: Points,
    other_starts: Ints,
    other_boxes: Points,
    keys: Ints,
    slots: Ints,
) -> int:
    """How many points have one of the others near."""
    near = 0
    waiting = np.empty(len(points), np.int64)
    for at in range(len(keys)):
        if keys[at] < 0:
            continue
        cube = slots[at]
        left = starts[cube + 1] - starts[cube]
        for i in range(left):
            waiting[i] = starts[cube] + i
        for step in _STEPS:
            if left == 0:
                break
            found = _find(keys, keys[at] + step) if step else at
            if keys[found] < 0:
                continue
            other = slots[found]
            begin, end = other_starts[other], other_starts[other + 1]
            if begin == end:
                continue
            least, most = _bounds(boxes[cube], other_boxes[other])
            if least > _SURELY_FAR:
                continue
            if most < _SURELY_NEAR:
                near += left
                left = 0
                break
            still = 0
            for i in range(left):
                if _any_near(points[waiting[i]], others, begin, end, other_boxes[other]):
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
