"""What fills a block: detached houses, closed perimeters, slabs, halls, parks. Each filler draws from one generator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refbench.city.plan import Cover, Rect
from refbench.city.town import Building

if TYPE_CHECKING:
    from collections.abc import Callable

    from refbench.city.shapes import RoofShape
    from refbench.city.town import Town


def detached(town: Town, rect: Rect) -> None:
    """Fill a block with houses in gardens along its longer sides."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.8), Cover.GRASS)
    (du, dv), along_u = rect.size, rect.size[0] >= rect.size[1]
    length, depth = max(du, dv), min(du, dv)
    rows = (0, 1) if depth > 38 else (int(rng.integers(2)),)
    for row in rows:
        at = 3.0
        while at + 15.0 < length:
            lot = min(float(rng.uniform(13.0, 20.0)), length - at - 2.0)
            _house(town, rect, (at, lot), row, along_u, depth)
            at += lot
    town.plant_some(rect.inset(3.0), int(du * dv / 110), (4.0, 11.0), 0.25)


def _house(town: Town, rect: Rect, lot: tuple[float, float], row: int, along_u: bool, depth: float) -> None:
    rng = town.rng
    wide, deep = float(rng.uniform(8.5, min(13.0, lot[1] - 3.0))), float(rng.uniform(8.0, 10.5))
    back = float(rng.uniform(4.5, 7.0)) + deep / 2
    along, across = lot[0] + lot[1] / 2, back if row == 0 else depth - back
    u, v = (rect.u0 + along, rect.v0 + across) if along_u else (rect.u0 + across, rect.v0 + along)
    turn = 0.0 if along_u else np.pi / 2
    cover_width, front = 1.5, (0.0 if row == 0 else depth)
    drive = along + wide / 2 + 1.2
    drive_rect = (
        Rect(rect.u0 + drive - cover_width, rect.v0 + min(front, across), rect.u0 + drive, rect.v0 + max(front, across))
        if along_u
        else Rect(
            rect.u0 + min(front, across), rect.v0 + drive - cover_width, rect.u0 + max(front, across), rect.v0 + drive
        )
    )
    town.cover.paint_rect(drive_rect, Cover.PAVING if rng.random() < 0.6 else Cover.GRAVEL)
    roof: RoofShape = rng.choice(["gable", "gable", "hip", "pyramid", "shed", "flat"])
    length, width = max(wide, deep), min(wide, deep)
    if roof == "pyramid":
        length = width = (wide + deep) / 2
    quarter = (np.pi / 2 if deep > wide else 0.0) if roof != "shed" else np.pi * int(rng.integers(2))
    pitch = {"flat": 0.0, "shed": rng.uniform(6, 14), "pyramid": rng.uniform(24, 36)}.get(roof, rng.uniform(28, 46))
    eave = float(rng.choice([3.2, 4.2, 5.8, 6.4])) + float(rng.uniform(-0.3, 0.4))
    place = town.cover.frame.place(u, v, turn + quarter + float(rng.normal(0, 0.02)))
    dormers = int(rng.integers(1, 4)) if roof == "gable" and pitch > 34 and rng.random() < 0.6 else 0
    if not town.build(Building(place, length, width, eave, float(pitch), roof, "house", dormers)):
        return
    if rng.random() < 0.35 and roof == "gable":  # a wing across: an L-shaped house
        wing = float(rng.uniform(5.0, 6.5))
        side = place.moved(length / 4, (1 if rng.random() < 0.5 else -1) * width / 2, np.pi / 2)
        town.build(Building(side, wing + 2.0, wing, eave, float(pitch), "gable", "house", joined=True))
    elif rng.random() < 0.5:
        garage = place.moved(length / 2 + 1.8, float(rng.uniform(-1, 1)) * 1.5, np.pi / 2)
        town.build(Building(garage, 6.0, 3.2, 2.6, 0.0, "flat", "garage"))


def perimeter(town: Town, rect: Rect) -> None:
    """Fill a block with a closed row of houses around a courtyard with low back buildings and trees."""
    rng, cover = town.rng, town.cover
    inner = rect.inset(2.6)
    du, dv = inner.size
    depth = float(rng.uniform(9.5, 12.5))
    if min(du, dv) < 2 * depth + 8:
        slabs(town, rect)
        return
    court = inner.inset(depth)
    cover.paint_rect(court, rng.choice([Cover.GRAVEL, Cover.GRASS, Cover.PAVING]))
    eave, pitch = float(rng.uniform(6.5, 12.0)), float(rng.uniform(28.0, 42.0))
    if rng.random() < 0.3:
        place = cover.frame.place(*inner.centre)
        town.build(Building(place, du, dv, eave, min(pitch, 35.0), "gable", "block", 0, depth))
    else:
        _row(town, (inner.u0, inner.u1), inner.v0 + depth / 2, depth, (eave, pitch), along_u=True)
        _row(town, (inner.u0, inner.u1), inner.v1 - depth / 2, depth, (eave, pitch), along_u=True)
        _row(town, (court.v0, court.v1), inner.u0 + depth / 2, depth, (eave, pitch), along_u=False)
        _row(town, (court.v0, court.v1), inner.u1 - depth / 2, depth, (eave, pitch), along_u=False)
    if min(court.size) > 16:
        for _ in range(int(rng.integers(0, 3))):
            u, v = rng.uniform(court.u0 + 5, court.u1 - 5), rng.uniform(court.v0 + 5, court.v1 - 5)
            roof: RoofShape = rng.choice(["flat", "shed", "gable"])
            back = cover.frame.place(u, v, np.pi / 2 * int(rng.integers(2)))
            size = float(rng.uniform(6, 9)), float(rng.uniform(5, 6))
            town.build(Building(back, *size, float(rng.uniform(3, 6)), 12.0, roof, "garage"))
    town.plant_some(court.inset(2.0), int(np.prod(court.inset(2.0).size) / 70), (6.0, 13.0), 0.05)


def _row(
    town: Town, span: tuple[float, float], across: float, depth: float, form: tuple[float, float], along_u: bool
) -> None:
    """Set houses wall to wall along ``span``; eaves differ by a storey, and a gap stays open now and then."""
    rng = town.rng
    at, end = span
    while end - at > 4.0:
        length = float(rng.uniform(11.0, 19.0))
        if end - at - length < 9.0:
            length = end - at
        middle = at + length / 2
        at += length
        if rng.random() < 0.05:
            continue
        u, v = (middle, across) if along_u else (across, middle)
        place = town.cover.frame.place(u, v, 0.0 if along_u else np.pi / 2)
        eave, pitch = form[0] + float(rng.choice([-3.0, 0.0, 0.0, 1.2])), form[1] + float(rng.normal(0, 2))
        roof: RoofShape = "flat" if rng.random() < 0.15 else "gable"
        dormers = int(rng.integers(2, 5)) if roof == "gable" and rng.random() < 0.6 else 0
        # Wall to wall needs a ridge along the street, also where the house is deeper than it is long.
        town.build(Building(place, length + 0.1, depth, eave, pitch, roof, "block", dormers))


def slabs(town: Town, rect: Rect) -> None:
    """Fill a block with parallel flat-roofed slabs on lawns, with a car park."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.8), Cover.GRASS)
    (du, dv), along_u = rect.size, rect.size[0] >= rect.size[1]
    length, depth = max(du, dv), min(du, dv)
    height = float(rng.choice([6.5, 9.0, 9.0, 12.0, 15.0]))
    width, gap = float(rng.uniform(10.0, 13.0)), max(15.0, 0.8 * height)
    at = 5.0 + width / 2
    while at + width / 2 + 3.0 < depth:
        extent = min(length - 10.0, float(rng.uniform(28.0, 50.0)))
        middle = 5.0 + extent / 2 + float(rng.uniform(0, max(0.1, length - 10.0 - extent)))
        u, v = (rect.u0 + middle, rect.v0 + at) if along_u else (rect.u0 + at, rect.v0 + middle)
        place = cover.frame.place(u, v, 0.0 if along_u else np.pi / 2)
        town.build(Building(place, extent, width, height + float(rng.choice([0.0, 0.0, 3.0])), 0.0, "flat", "slab"))
        lot = at + width / 2 + 1.5
        if lot + 6 < depth:
            _car_park(town, rect, (lot, lot + 5.0), (5.0, length - 5.0), along_u)
        at += width + gap
    town.plant_some(rect.inset(3.0), int(du * dv / 140), (5.0, 14.0), 0.15)


def _car_park(town: Town, rect: Rect, band: tuple[float, float], span: tuple[float, float], along_u: bool) -> None:
    """Pave a band across the block and park cars side by side on it."""
    bays = (
        Rect(rect.u0 + span[0], rect.v0 + band[0], rect.u0 + span[1], rect.v0 + band[1])
        if along_u
        else Rect(rect.u0 + band[0], rect.v0 + span[0], rect.u0 + band[1], rect.v0 + span[1])
    )
    town.cover.paint_rect(bays, Cover.ASPHALT)
    for along in np.arange(span[0] + 1.5, span[1] - 1.5, 2.6):
        if town.rng.random() < 0.55:
            middle = (band[0] + band[1]) / 2
            u, v = (rect.u0 + along, rect.v0 + middle) if along_u else (rect.u0 + middle, rect.v0 + along)
            town.park(u, v, np.pi / 2 if along_u else 0.0)


def halls(town: Town, rect: Rect) -> None:
    """Fill a block with industrial halls on paved ground: flat, saw-toothed or low-pitched."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.5), rng.choice([Cover.ASPHALT, Cover.PAVING, Cover.GRAVEL]))
    du, dv = rect.size
    split = int(rng.integers(1, 3)) if max(du, dv) > 50 else 1
    for part in range(split):
        if du >= dv:
            cell = Rect(rect.u0 + part * du / split, rect.v0, rect.u0 + (part + 1) * du / split, rect.v1)
        else:
            cell = Rect(rect.u0, rect.v0 + part * dv / split, rect.u1, rect.v0 + (part + 1) * dv / split)
        _hall(town, cell.inset(float(rng.uniform(5.0, 8.0))))
    if max(du, dv) > 40:
        _car_park(town, rect, (1.6, 6.4), (4.0, max(du, dv) - 4.0), du >= dv)
    for side in (rect.u0 + 1.5, rect.u1 - 1.5):
        for v in np.arange(rect.v0 + 6.0, rect.v1 - 6.0, 9.0):
            town.plant(side, float(v), float(rng.uniform(5, 9)))


def _hall(town: Town, cell: Rect) -> None:
    rng = town.rng
    du, dv = cell.size
    if min(du, dv) < 9:
        return
    turn = 0.0 if du >= dv else np.pi / 2
    length, width, eave = max(du, dv), min(du, dv), float(rng.uniform(4.5, 8.5))
    place = town.cover.frame.place(*cell.centre, turn)
    kind = rng.choice(["flat", "saw", "low", "two"])
    if kind == "saw":
        teeth = max(2, int(length / 8.0))
        step = length / teeth
        for tooth in range(teeth):
            middle = place.moved((tooth + 0.5) * step - length / 2, 0.0, np.pi / 2)
            town.build(Building(middle, width, step, eave, 22.0, "shed", "hall", joined=tooth > 0))
    elif kind == "low":
        town.build(Building(place, length, width, eave, float(rng.uniform(7, 14)), "gable", "hall"))
    elif kind == "two":
        cut = float(rng.uniform(0.3, 0.6)) * length
        town.build(Building(place.moved((cut - length) / 2, 0.0), cut, width, eave + 4.5, 0.0, "flat", "hall"))
        town.build(Building(place.moved(cut / 2, 0.0), length - cut, width, eave, 0.0, "flat", "hall"))
    else:
        town.build(Building(place, length, width, eave, 0.0, "flat", "hall"))


def park(town: Town, rect: Rect) -> None:
    """Fill a block with lawn, paths, groves, sometimes a pond."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.8), Cover.GRASS)
    (cu, cv), (du, dv) = rect.centre, rect.size
    for fraction in rng.uniform(0.25, 0.75, 2):
        at = rect.u0 + fraction * du
        lean = float(rng.uniform(-0.2, 0.2)) * du
        cover.paint(
            np.array(
                [[at - 1.3, rect.v0], [at + 1.3, rect.v0], [at + lean + 1.3, rect.v1], [at + lean - 1.3, rect.v1]]
            ),
            Cover.GRAVEL,
        )
    if min(du, dv) > 34 and rng.random() < 0.6:
        turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        wobble = 1 + 0.15 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.1 * np.sin(3 * turn + rng.uniform(0, 6))
        pond = [cu, cv] + np.column_stack([0.27 * du * np.cos(turn), 0.27 * dv * np.sin(turn)]) * wobble[:, None]
        cover.paint(pond, Cover.WATER)
    for _ in range(max(2, int(du * dv / 450))):
        gu, gv = rng.uniform(rect.u0 + 4, rect.u1 - 4), rng.uniform(rect.v0 + 4, rect.v1 - 4)
        for _ in range(int(rng.integers(3, 10))):
            u, v = rng.normal(gu, 5.0), rng.normal(gv, 5.0)
            if rect.u0 + 2 < u < rect.u1 - 2 and rect.v0 + 2 < v < rect.v1 - 2:
                town.plant(u, v, float(rng.uniform(8, 19)), bool(rng.random() < 0.2))


def tower(town: Town, rect: Rect) -> None:
    """Fill a block with a tall flat-roofed building on a low base."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.8), rng.choice([Cover.PAVING, Cover.GRASS]))
    du, dv = rect.size
    base = rect.inset(float(rng.uniform(6, 9)))
    if min(base.size) < 14:
        slabs(town, rect)
        return
    place = cover.frame.place(*base.centre)
    town.build(Building(place, *base.size, float(rng.uniform(4.5, 8.0)), 0.0, "flat", "slab"))
    side = float(rng.uniform(14, min(22.0, min(base.size))))
    town.build(Building(place, side, side, float(rng.uniform(16, 28)), 0.0, "flat", "slab"))
    town.plant_some(rect.inset(2.0), int(du * dv / 160), (5.0, 10.0), 0.0)


def church(town: Town, rect: Rect) -> None:
    """Fill a block with a church: nave, transept, a tower with a steep pyramid, trees around it."""
    rng, cover = town.rng, town.cover
    cover.paint_rect(rect.inset(1.8), rng.choice([Cover.PAVING, Cover.GRASS]))
    length = min(32.0, max(rect.size) - 16.0)
    place = cover.frame.place(*rect.centre, 0.0 if rect.size[0] >= rect.size[1] else np.pi / 2)
    town.build(Building(place, length, 12.0, 9.5, 48.0, "gable", "church"))
    town.build(Building(place.moved(length / 6, 0.0, np.pi / 2), 20.0, 8.0, 8.5, 48.0, "gable", "church", joined=True))
    town.build(Building(place.moved(-length / 2 - 2.0, 0.0), 7.5, 7.5, 17.0, 68.0, "pyramid", "church", joined=True))
    town.plant_some(rect.inset(3.0), int(np.prod(rect.size) / 130), (8.0, 15.0), 0.1)


FILLERS: dict[str, Callable[[Town, Rect], None]] = {
    "detached": detached,
    "perimeter": perimeter,
    "slabs": slabs,
    "halls": halls,
    "park": park,
    "tower": tower,
    "church": church,
}
CHARACTERS: dict[str, dict[str, float]] = {
    "suburb": {"detached": 0.7, "slabs": 0.1, "park": 0.12, "church": 0.08},
    "centre": {"perimeter": 0.68, "tower": 0.08, "park": 0.14, "church": 0.1},
    "industrial": {"halls": 0.6, "detached": 0.15, "slabs": 0.15, "park": 0.1},
    "mixed": {"detached": 0.28, "perimeter": 0.24, "slabs": 0.16, "halls": 0.14, "park": 0.12, "tower": 0.06},
}
BLOCK_SIZE = {"suburb": 62.0, "centre": 66.0, "industrial": 70.0, "mixed": 58.0}
