"""Draws one aerial tile and its roof mask: ground, pads, roads, buildings, trees, then light and noise.

Roofs share their colours with roads, soil, pads and shadows on purpose: what tells them apart is shape,
ridge lines, shading of the two sides and the shadow they throw, which a colour threshold cannot see.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from comp.demo.scene import FINE, SIZE, UNIT, Box, Colour, Ints, Scene, smear

KINDS = ("houses", "blocks", "farm", "open")  # "open" has no roof

GRASS: tuple[Colour, ...] = ((92, 114, 66), (104, 120, 74), (120, 124, 82), (84, 104, 64))
SOIL: tuple[Colour, ...] = ((158, 110, 82), (146, 122, 96), (176, 150, 120), (112, 90, 72))
PAVED: tuple[Colour, ...] = (
    (104, 104, 107),
    (122, 120, 118),
    (150, 148, 144),
    (182, 178, 170),
    (84, 85, 90),
)
ROOFS: tuple[Colour, ...] = (
    (164, 94, 70),
    (150, 88, 68),
    (138, 92, 76),
    (116, 88, 74),
    (110, 110, 114),
    (86, 88, 94),
    (148, 146, 144),
    (184, 180, 172),
    (108, 118, 132),
)
CARS: tuple[Colour, ...] = (
    (200, 200, 202),
    (60, 62, 68),
    (150, 60, 52),
    (120, 124, 130),
    (70, 92, 136),
)


def draw_ground(scene: Scene) -> None:
    """Grass with worn patches of soil or gravel, blended softly."""
    scene.paint(np.ones((FINE, FINE), bool), scene.pick(GRASS, 16), scene.noise(9) // 12 - 10)
    for palette in (SOIL, GRASS, SOIL if scene.between(0, 1) else PAVED):
        hills = scene.noise(scene.between(36, 90))
        worn = (hills - scene.between(150, 200)) * 6
        weight: Ints = np.clip(worn, 0, 256).astype(np.int32)[:, :, None]
        colour = np.array(scene.pick(palette, 14), np.int32)
        other: Ints = colour + (scene.grain + scene.blotch)[:, :, None]
        blend: Ints = scene.pixels * (256 - weight) + other * weight
        scene.pixels = blend >> 8


def draw_pads(scene: Scene, count: int, degrees: int) -> None:
    """Flat rectangles of soil, concrete or ploughed rows: roof-coloured, without ridge or shadow."""
    for _ in range(count):
        box = Box(
            scene.between(0, FINE),
            scene.between(0, FINE),
            scene.between(16, 52),
            scene.between(12, 40),
            degrees,
        )
        _, across = box.local()
        rows = (
            np.where((across >> 4) % 8 < 4, -scene.between(3, 9), 3) if scene.between(0, 1) else 0
        )
        scene.paint(box.inside(), scene.pick(SOIL + PAVED[1:4]), rows)


def draw_road(scene: Scene, degrees: int) -> None:
    """One road across the tile, asphalt or dirt, with kerbs, lane marks and cars."""
    half = scene.between(11, 17)
    box = Box(scene.between(40, FINE - 40), scene.between(40, FINE - 40), 2 * FINE, half, degrees)
    along, across = box.local()
    paved = scene.between(0, 3) > 0
    if paved:
        scene.paint(box.grown(4).inside(), scene.pick(PAVED[2:4]))
    scene.paint(box.inside(), scene.pick(PAVED[:3] if paved else SOIL))
    if paved and scene.between(0, 2):
        scene.paint((np.abs(across) <= 14) & ((along >> 4) % 40 < 18), (196, 194, 186))
    scene.taken |= box.grown(8).inside()
    for _ in range(scene.between(0, 3)):
        side = half // 2 if scene.between(0, 1) else -half // 2
        draw_car(scene, replace(box.moved(scene.between(-120, 120), side), half_u=9, half_v=4))


def draw_car(scene: Scene, box: Box) -> None:
    """A small box with a dark windscreen and a thin shadow."""
    body = box.inside()
    away = (-scene.sun[0], -scene.sun[1])
    scene.darken(smear(body, away, 3) & ~body, 62)
    scene.paint(body, scene.pick(CARS))
    scene.paint(replace(box.moved(3, 0), half_u=2, half_v=3).inside(), (48, 54, 62))


def place(scene: Scene, box: Box, tries: int) -> Box | None:
    """A free place for `box`, its own size and direction kept; None when the tile is full."""
    for _ in range(tries):
        here = replace(box, x=scene.between(8, FINE - 8), y=scene.between(8, FINE - 8))
        if not (scene.taken & here.grown(9).inside()).any():
            return here
    return None


def draw_building(scene: Scene, box: Box, flat: bool) -> None:
    """One building with yard, shadow and roof; every third house has a wing, which makes an L."""
    parts = [box]
    if not flat and scene.between(0, 2) == 0:
        reach, side = box.half_v + scene.between(6, 12), 1 if scene.between(0, 1) else -1
        wing = Box(0, 0, reach, max(box.half_v * 3 // 4, 8), box.degrees + 90)
        corner = box.moved(
            (box.half_u - wing.half_v) * (1 if scene.between(0, 1) else -1), side * (reach // 2 + 2)
        )
        parts.append(replace(wing, x=corner.x, y=corner.y))
    shape = np.logical_or.reduce([part.inside() for part in parts])
    if scene.between(0, 2):
        drive = replace(
            box.moved(scene.between(-6, 6), box.half_v + 14), half_u=scene.between(6, 12), half_v=18
        )
        scene.paint(drive.inside() & ~scene.roof, scene.pick(PAVED))
    away = (-scene.sun[0], -scene.sun[1])
    scene.darken(
        smear(shape, away, scene.between(8, 11) + 3 * flat) & ~shape & ~scene.roof,
        scene.between(36, 46),
    )
    colour = scene.pick(ROOFS, 9)
    for part in parts:
        draw_flat_roof(scene, part, colour) if flat else draw_pitched_roof(scene, part, colour)
    scene.roof |= shape
    scene.taken |= box.grown(12).inside() | shape


def draw_pitched_roof(scene: Scene, box: Box, colour: Colour) -> None:
    """A gable or hip roof: sides lit by the sun, tile rows, a ridge line."""
    (cos, sin), (along, across) = box.direction, box.local()
    slope = scene.between(36, 54)
    facing = (-sin * scene.sun[0] + cos * scene.sun[1]) // UNIT
    ending = (cos * scene.sun[0] + sin * scene.sun[1]) // UNIT
    light = np.where(across > 0, facing, -facing) * slope // UNIT
    hip = np.abs(along) - 16 * (box.half_u - box.half_v) > np.abs(across)
    if scene.between(0, 1):
        light = np.where(hip, np.where(along > 0, ending, -ending) * slope // UNIT, light)
    rows = np.where((across >> 4) % 6 < 2, -14, 5)
    edge = (np.abs(along) > 16 * (box.half_u - 2)) | (np.abs(across) > 16 * (box.half_v - 2))
    ridge = np.where((np.abs(across) <= 24) & ~hip, 24, 0) - np.where(edge, 10, 0)
    inside = box.inside()
    scene.paint(inside, colour, (light + rows + ridge).astype(np.int32))
    if scene.between(0, 3) == 0:
        scene.paint(chimney(scene, box).inside() & inside, (66, 60, 58))


def chimney(scene: Scene, box: Box) -> Box:
    """A small square on the roof, off the ridge."""
    return replace(
        box.moved(scene.between(-box.half_u // 2, box.half_u // 2), box.half_v // 3),
        half_u=3,
        half_v=2,
    )


def draw_flat_roof(scene: Scene, box: Box, colour: Colour) -> None:
    """A flat roof: bright parapet, seams, air-conditioning boxes with their own little shadows."""
    along, _ = box.local()
    seams = np.where((along >> 4) % 14 < 3, -16, 3).astype(np.int32)
    scene.paint(box.inside(), (colour[0] + 34, colour[1] + 34, colour[2] + 34))
    scene.paint(box.grown(-3).inside(), colour, seams)
    for _ in range(scene.between(1, 4)):
        unit = replace(
            box.moved(
                scene.between(-box.half_u, box.half_u) * 2 // 3,
                scene.between(-box.half_v, box.half_v) * 2 // 3,
            ),
            half_u=scene.between(3, 6),
            half_v=scene.between(3, 5),
        )
        body = unit.inside() & box.inside()
        scene.darken(smear(body, (-scene.sun[0], -scene.sun[1]), 4) & box.inside() & ~body, 66)
        scene.paint(body, scene.pick(PAVED))


def draw_tree(scene: Scene, x: int, y: int, radius: int) -> None:
    """A ragged crown, bright towards the sun, with a shadow; what it covers is no longer visible roof."""
    dx, dy = np.arange(FINE, dtype=np.int32) - x, np.arange(FINE, dtype=np.int32)[:, None] - y
    ragged = scene.noise(7) - 128
    crown = dx * dx + dy * dy <= radius * radius + radius * ragged // 7
    scene.darken(
        smear(crown, (-scene.sun[0], -scene.sun[1]), radius * 2 // 3) & ~crown,
        scene.between(48, 62),
    )
    light = (dx * scene.sun[0] + dy * scene.sun[1]) // UNIT * 22 // radius
    scene.paint(
        crown,
        scene.pick(((58, 80, 46), (70, 88, 50), (50, 68, 48), (92, 96, 52))),
        light + ragged // 6,
    )
    scene.roof &= ~crown


def draw_trees(scene: Scene, count: int) -> None:
    """Single trees; one in four may reach over a roof, the others keep off."""
    for _ in range(count):
        x, y, radius = scene.between(0, FINE - 1), scene.between(0, FINE - 1), scene.between(7, 19)
        near = scene.roof[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
        if not near.any() or (scene.between(0, 3) == 0 and near.mean() < 0.5):
            draw_tree(scene, x, y, radius)


def draw_buildings(scene: Scene, kind: str, degrees: int) -> None:
    """As many buildings as the kind of tile asks for and as find a place."""
    count = {
        "houses": scene.between(4, 7),
        "blocks": scene.between(2, 3),
        "farm": scene.between(2, 3),
        "open": 0,
    }[kind]
    for _ in range(count):
        flat = kind == "blocks" or scene.between(0, 7) == 0
        long = scene.between(34, 54) if kind == "blocks" else scene.between(22, 34)
        wide = long * scene.between(11, 15) // 20
        turned = degrees + 90 * scene.between(0, 1) + scene.between(-6, 6)
        box = place(scene, Box(0, 0, long, wide, turned), tries=40)
        if box is not None:
            draw_building(scene, box, flat)


def finish(scene: Scene) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Average to SIZE, light the tile unevenly, add sensor noise."""
    small = scene.pixels.reshape(SIZE, 2, SIZE, 2, 3).sum(axis=(1, 3)) // 4
    roof = (scene.roof.reshape(SIZE, 2, SIZE, 2).sum(axis=(1, 3)) >= 2).astype(np.uint8)
    gain, tilt_x, tilt_y = scene.between(920, 1120), scene.between(-2, 2), scene.between(-2, 2)
    steps = np.arange(SIZE, dtype=np.int32) - SIZE // 2
    light = gain + tilt_x * steps[None, :] + tilt_y * steps[:, None]
    tint = np.array([scene.between(1000, 1050), 1024, scene.between(990, 1050)], np.int32)
    noise = scene.rng.integers(-4, 5, (2, SIZE, SIZE, 3), dtype=np.int32).sum(axis=0)
    lit = (small * light[:, :, None] // UNIT) * tint // UNIT + noise + scene.between(-4, 10)
    return np.clip(lit, 0, 255).astype(np.uint8), roof


def draw_tile(kind: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one tile.

    Args:
        kind: one of KINDS; "open" has no roof.

    Returns:
        image (SIZE, SIZE, 3) uint8 RGB, and the visible roof (SIZE, SIZE) uint8 0/1.
    """
    scene = Scene(rng)
    degrees = scene.between(0, 179)
    draw_ground(scene)
    draw_pads(
        scene, scene.between(1, 3) if kind in ("open", "farm") else scene.between(0, 1), degrees
    )
    for crossing in range(scene.between(0, 1) if kind == "farm" else scene.between(1, 2)):
        draw_road(scene, degrees + 90 * crossing)
    draw_buildings(scene, kind, degrees)
    draw_trees(scene, scene.between(4, 18))
    return finish(scene)
