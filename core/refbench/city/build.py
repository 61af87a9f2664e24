"""From a seed to a world: the town plan filled with buildings and trees, set on terrain, as one mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refbench.city.blocks import BLOCK_SIZE, CHARACTERS, FILLERS
from refbench.city.furniture import add_furniture, terraced
from refbench.city.mesh import Kind, MeshBuilder
from refbench.city.palette import (
    car_colour,
    conifer_colour,
    crown_colour,
    flat_roof_colour,
    metal_roof_colour,
    tile_roof_colour,
    wall_colour,
)
from refbench.city.plan import Cover, CoverMap, Rect, make_street_frame, make_town_plan, paint_streets
from refbench.city.shapes import (
    RoofedBox,
    add_box,
    add_conifer,
    add_crown,
    add_ring_building,
    add_roofed_box,
)
from refbench.city.terrain import Terrain, make_terrain
from refbench.city.town import Town
from refbench.contracts.method import derived_rng

if TYPE_CHECKING:
    from refbench.city.mesh import Mesh
    from refbench.city.plan import TownPlan
    from refbench.city.town import Building

TERRAIN_STEP = 0.5
CANAL_FRACTION = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """The geometry of a city: the mesh, what covers the ground, and words on what it is."""

    mesh: Mesh
    cover: CoverMap
    terrain: Terrain
    character: str
    buildings: int
    trees: int


def make_world(seed: int, half: float, *, furniture: float = 0.0, terraces: bool = False) -> World:
    """Return the city of ``seed`` over the square [-half, half]^2 of local metres.

    ``furniture`` in [0, 1] sets walls, hedges and the like, ``terraces`` cuts the ground into steps.
    """
    rng = derived_rng(seed, "city", "plan")
    frame = make_street_frame(rng)
    cover = CoverMap(half, frame)
    character = str(rng.choice(list(CHARACTERS)))
    with_canal = bool(rng.random() < CANAL_FRACTION)
    target = BLOCK_SIZE[character] * float(rng.uniform(0.85, 1.2))
    plan = make_town_plan(rng, 1.45 * half + 20.0, target, with_canal)
    paint_streets(cover, plan)
    town = Town(cover, derived_rng(seed, "city", "blocks"))
    _fill(town, plan, character)
    rng = derived_rng(seed, "city", "terrain")
    count = round(2 * half / TERRAIN_STEP) + 1
    nodes = np.linspace(-half, half, count)
    water = cover.cover_at(np.stack(np.meshgrid(nodes, nodes), axis=-1)) == Cover.WATER
    relief = float(rng.uniform(0.8, 1.6) if water.any() else rng.uniform(1.0, 5.0))
    terrain = make_terrain(rng, half, water, relief, float(rng.uniform(40.0, 480.0)))
    if terraces:
        steps = terraced(terrain.heights, half, derived_rng(seed, "city 2", "terraces"))
        terrain = Terrain(np.where(water, terrain.heights, steps), terrain.half, terrain.step)
    builder = _build_mesh(town, plan, terrain, derived_rng(seed, "city", "mesh"))
    if furniture:
        add_furniture(builder, town, plan.blocks, terrain, furniture, derived_rng(seed, "city 2", "furniture"))
    mesh = builder.build()
    return World(mesh, cover, terrain, character, len(town.buildings), len(town.trees))


def _fill(town: Town, plan: TownPlan, character: str) -> None:
    """Give every block that touches the map a use, then set street trees and cars."""
    weights = CHARACTERS[character]
    names, fractions = list(weights), np.array(list(weights.values()))
    for block in plan.blocks:
        use = str(town.rng.choice(names, p=fractions / fractions.sum()))
        corners = town.cover.frame.world(block.corners())
        if (np.abs(corners) < town.cover.half + 40.0).all(axis=1).any() or _covers_centre(block):
            FILLERS[use](town, block)
    lined = town.rng.random() < 0.6
    for street in plan.streets:
        _furnish(town, street, bool(lined and town.rng.random() < 0.7))
    if plan.canal is not None:
        canal = plan.canal
        for u in np.arange(canal.u0, canal.u1, 8.0):
            for v in (canal.v0 + 6.0, canal.v1 - 6.0):
                if town.rng.random() < 0.6:
                    town.plant(float(u), float(v), float(town.rng.uniform(6, 12)))


def _covers_centre(block: Rect) -> bool:
    return block.u0 < 0 < block.u1 and block.v0 < 0 < block.v1


def _furnish(town: Town, street: Rect, lined: bool) -> None:
    """Park cars along the kerbs and set a row of trees on the pavement."""
    du, dv = street.size
    along_u, rng = du > dv, town.rng
    kerbs = (street.v0, street.v1) if along_u else (street.u0, street.u1)
    start, stop = (street.u0, street.u1) if along_u else (street.v0, street.v1)
    for side, kerb in enumerate(kerbs):
        outward = -1.0 if side == 0 else 1.0
        for at in np.arange(start + 4.0, stop - 4.0, 6.0):
            if rng.random() < 0.42:
                across = kerb - outward * 1.1
                u, v = (at, across) if along_u else (across, at)
                town.park(u, v, 0.0 if along_u else np.pi / 2)
        if lined:
            for at in np.arange(start + 3.0, stop - 3.0, 9.0):
                across = kerb + outward * 1.1
                u, v = (at, across) if along_u else (across, at)
                town.plant(u, v, float(rng.uniform(5.0, 9.5)))


def _build_mesh(town: Town, plan: TownPlan, terrain: Terrain, rng: np.random.Generator) -> MeshBuilder:
    builder = MeshBuilder()
    terrain.add_to(builder, builder.surface(Kind.GROUND, (1.0, 1.0, 1.0, 1.0)))
    surfaces = (0, 0)
    for building in town.buildings:
        surfaces = surfaces if building.joined and surfaces[0] else _surfaces(builder, building, rng)
        _add_building(builder, building, terrain, rng, surfaces)
    for tree in town.trees:
        colour = conifer_colour(rng) if tree.conifer else crown_colour(rng)
        surface = builder.surface(Kind.CROWN, colour, _phase(rng))
        ground = float(terrain.at(tree.x, tree.y))
        if tree.conifer:
            add_conifer(builder, (tree.x, tree.y, ground), tree.height, tree.radius, surface)
        else:
            up = min(0.42 * tree.height, 1.4 * tree.radius)
            add_crown(builder, (tree.x, tree.y, ground + tree.height - up), (tree.radius, up), rng, surface)
    for car in town.cars:
        surface = builder.surface(Kind.CAR, car_colour(rng), _phase(rng))
        ground = float(terrain.at(car.place.x, car.place.y))
        add_box(builder, car.place, (car.length, car.width), (ground + 0.2, ground + 0.6 * car.height), surface)
        cabin = car.place.moved(-0.08 * car.length, 0.0)
        add_box(builder, cabin, (0.6 * car.length, 0.9 * car.width), (ground + 0.4, ground + car.height), surface)
    if plan.canal is not None:
        _add_bridge(builder, town, plan.canal, terrain, rng)
    return builder


def _add_bridge(builder: MeshBuilder, town: Town, canal: Rect, terrain: Terrain, rng: np.random.Generator) -> None:
    """Lay a road bridge over the canal."""
    u, v = float(rng.uniform(-0.4, 0.4)) * town.cover.half, (canal.v0 + canal.v1) / 2
    place = town.cover.frame.place(u, v, np.pi / 2)
    span = canal.size[1] - 9.0
    ends = place.world(np.array([[-span / 2, 0.0], [span / 2, 0.0]]))
    deck = float(terrain.at(ends[:, 0], ends[:, 1]).max()) + 0.4
    surface = builder.surface(Kind.DECK, (0.2, 0.2, 0.19, 0.22), _phase(rng))
    add_box(builder, place, (span, 9.0), (deck - 1.0, deck), surface)


def _phase(rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(0.0, 40.0, 2)
    return float(x), float(y)


def _surfaces(builder: MeshBuilder, plan: Building, rng: np.random.Generator) -> tuple[int, int]:
    """Return new rows of the surface table for wall and roof."""
    return builder.surface(Kind.WALL, wall_colour(rng, plan.style), _phase(rng)), _roof_surface(builder, plan, rng)


def _add_building(
    builder: MeshBuilder, plan: Building, terrain: Terrain, rng: np.random.Generator, surfaces: tuple[int, int]
) -> None:
    """Add a planned building with its dormers, chimneys and roof plant to the mesh."""
    box = RoofedBox(plan.place, plan.length, plan.width, 0.0, 0.0, 0.0, plan.roof)
    ground = terrain.at(*box.footprint.T)
    base, eave = float(ground.min()) - 0.5, float(ground.mean()) + plan.eave
    slope = float(np.tan(np.radians(plan.pitch)))
    if plan.courtyard:
        ridge = eave + slope * plan.courtyard / 2
        outer = (plan.length, plan.width)
        add_ring_building(builder, plan.place, outer, plan.courtyard, (base, eave, ridge), surfaces)
        return
    rise = slope * (plan.width if plan.roof == "shed" else plan.width / 2)
    overhang = 0.0 if plan.roof == "flat" or plan.style in ("garage", "hall") else 0.4
    parapet = float(rng.uniform(0.2, 0.9)) if plan.roof == "flat" and plan.style != "garage" else 0.0
    box = RoofedBox(plan.place, plan.length, plan.width, base, eave, rise, plan.roof, overhang, parapet)
    add_roofed_box(builder, box, *surfaces)
    if plan.roof == "gable" and plan.style in ("house", "block"):
        _add_chimneys(builder, box, rng)
    if plan.dormers:
        _add_dormers(builder, box, slope, surfaces, plan.dormers, rng)
    if plan.roof == "flat" and plan.style in ("slab", "hall", "block"):
        _add_roof_plant(builder, box, rng)


def _roof_surface(builder: MeshBuilder, plan: Building, rng: np.random.Generator) -> int:
    if plan.roof == "flat":
        return builder.surface(Kind.ROOF_FLAT, flat_roof_colour(rng), _phase(rng))
    if plan.style == "hall" or plan.pitch < 15.0 or rng.random() < 0.08:
        return builder.surface(Kind.ROOF_METAL, metal_roof_colour(rng), _phase(rng))
    return builder.surface(Kind.ROOF_TILE, tile_roof_colour(rng), _phase(rng))


def _add_chimneys(builder: MeshBuilder, box: RoofedBox, rng: np.random.Generator) -> None:
    surface = builder.surface(Kind.FITTING, (0.22, 0.13, 0.1, 0.25))
    for _ in range(int(rng.integers(1, 3))):
        place = box.place.moved(float(rng.uniform(-0.35, 0.35)) * box.length, float(rng.uniform(-0.8, 0.8)))
        size = float(rng.uniform(0.6, 1.2)), float(rng.uniform(0.6, 0.9))
        add_box(builder, place, size, (box.eave, box.top + float(rng.uniform(0.5, 1.1))), surface)


def _add_dormers(
    builder: MeshBuilder,
    box: RoofedBox,
    slope: float,
    surfaces: tuple[int, int],
    count: int,
    rng: np.random.Generator,
) -> None:
    """Set gabled dormers evenly along one or both slopes; their backs end inside the roof."""
    width, height, crest = float(rng.uniform(1.6, 2.6)), 1.3, 0.6
    front = 0.78 * box.width / 2
    depth = min((height + crest) / slope + 0.3, front)
    sill = box.eave + slope * (box.width / 2 - front)
    sides = (-1.0, 1.0) if rng.random() < 0.6 else (1.0,)
    for side in sides:
        for index in range(count):
            along = ((index + 0.5) / count - 0.5) * (box.length - 2.0)
            place = box.place.moved(along, side * (front - depth / 2), np.pi / 2)
            dormer = RoofedBox(place, depth, width, box.eave - 0.5, sill + height, crest, "gable", 0.15)
            add_roofed_box(builder, dormer, *surfaces)


def _add_roof_plant(builder: MeshBuilder, box: RoofedBox, rng: np.random.Generator) -> None:
    """Set stair heads, ventilation boxes and skylights on a flat roof."""
    surface = builder.surface(Kind.FITTING, metal_roof_colour(rng))
    for _ in range(int(rng.integers(1, 3 + int(box.length * box.width / 250)))):
        size = float(rng.uniform(1.2, 4.5)), float(rng.uniform(1.0, 3.0))
        room = (box.length - size[0]) / 2 - 1.2, (box.width - size[1]) / 2 - 1.2
        if min(room) <= 0:
            continue
        place = box.place.moved(float(rng.uniform(-1, 1)) * room[0], float(rng.uniform(-1, 1)) * room[1])
        add_box(builder, place, size, (box.eave, box.eave + float(rng.uniform(0.6, 2.8))), surface)
