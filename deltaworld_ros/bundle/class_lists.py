# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Names, colours and roles of the class lists that segmentation heads are trained on.

Dynamic are people, animals and vehicles, and the small things that they move. Terrain and water
are static: a robot must not enter them. The sky is traversable: nothing is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deltaworld_ros.bundle.semantic_class import Role, SemanticClass
from deltaworld_ros.bundle.yaml_file import read_yaml
from deltaworld_ros.errors import UserError


def voc_color(number: int) -> tuple[int, int, int]:
    """Return the colour of a class number in the palette of PASCAL VOC, whose bits are spread."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number >> (3 * bit) & 1) << (7 - bit)
        green |= (number >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (number >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


def _classes(rows: Sequence[tuple[str, tuple[int, int, int], Role]]) -> list[SemanticClass]:
    return [SemanticClass(name=name, color=color, role=role) for name, color, role in rows]


STREET = _classes([
    ('road', (110, 110, 118), 'traversable'),
    ('sidewalk', (214, 150, 190), 'traversable'),
    ('lane_marking', (250, 244, 200), 'traversable'),
    ('terrain', (166, 186, 110), 'static'),
    ('vegetation', (64, 128, 58), 'static'),
    ('building', (150, 108, 88), 'static'),
    ('sky', (120, 180, 230), 'traversable'),
    ('vehicle', (30, 70, 200), 'dynamic'),
    ('pedestrian', (224, 40, 60), 'dynamic'),
    ('pole', (240, 190, 40), 'static'),
])

# In the order of the train ids of https://github.com/mcordts/cityscapesScripts.
CITYSCAPES = _classes([
    ('road', (128, 64, 128), 'traversable'),
    ('sidewalk', (244, 35, 232), 'traversable'),
    ('building', (70, 70, 70), 'static'),
    ('wall', (102, 102, 156), 'static'),
    ('fence', (190, 153, 153), 'static'),
    ('pole', (153, 153, 153), 'static'),
    ('traffic light', (250, 170, 30), 'static'),
    ('traffic sign', (220, 220, 0), 'static'),
    ('vegetation', (107, 142, 35), 'static'),
    ('terrain', (152, 251, 152), 'static'),
    ('sky', (70, 130, 180), 'traversable'),
    ('person', (220, 20, 60), 'dynamic'),
    ('rider', (255, 0, 0), 'dynamic'),
    ('car', (0, 0, 142), 'dynamic'),
    ('truck', (0, 0, 70), 'dynamic'),
    ('bus', (0, 60, 100), 'dynamic'),
    ('train', (0, 80, 100), 'dynamic'),
    ('motorcycle', (0, 0, 230), 'dynamic'),
    ('bicycle', (119, 11, 32), 'dynamic'),
])

# The numbers 1 to 124 of label_num_dic_final.json, which comes with VSPW and is also in
# https://github.com/VIPSeg-Dataset/VIPSeg-Dataset (same labels, same authors). The data set has
# no colours of its own: they are those of PASCAL VOC for the same numbers.
_VSPW_NAMES = """
wall ceiling door stair ladder escalator Playground_slide handrail_or_fence window rail goal
pillar pole floor ground grass sand athletic_field road path crosswalk building house bridge tower
windmill well_or_well_lid other_construction sky mountain stone wood ice snowfield grandstand sea
river lake waterfall water billboard_or_Bulletin_Board sculpture pipeline flag
parasol_or_umbrella cushion_or_carpet tent roadblock car bus truck bicycle motorcycle
wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat dog horse cattle
other_animal tree flower other_plant toy ball_net backboard skateboard bat ball
cupboard_or_showcase_or_storage_rack box traveling_case_or_trolley_case basket bag_or_package
trash_can cage plate tub_or_bowl_or_pot bottle_or_cup barrel fishbowl bed pillow table_or_desk
chair_or_seat bench sofa shelf bathtub gun commode roaster other_machine refrigerator
washing_machine Microwave_oven fan curtain textiles clothes painting_or_poster mirror
flower_pot_or_vase clock book tool blackboard tissue screen_or_television computer printer
Mobile_phone keyboard other_electronic_product fruit food instrument train
""".split()
_VSPW_TRAVERSABLE = frozenset("""
floor ground grass sand athletic_field road path crosswalk sky snowfield
""".split())
_VSPW_DYNAMIC = frozenset("""
car bus truck bicycle motorcycle wheeled_machine ship_or_boat raft airplane person cat dog horse
cattle other_animal toy skateboard ball traveling_case_or_trolley_case train
""".split())
VSPW = [
    SemanticClass(
        name=name, color=voc_color(number),
        role='traversable' if name in _VSPW_TRAVERSABLE else
        'dynamic' if name in _VSPW_DYNAMIC else 'static')
    for number, name in enumerate(_VSPW_NAMES, start=1)
]

CLASS_LISTS = {'vspw': VSPW, 'cityscapes': CITYSCAPES, 'street': STREET}
# A name that two lists share has one role.
_ROLES: Mapping[str, Role] = {
    entry.name: entry.role for entries in CLASS_LISTS.values() for entry in entries}


def with_role(entry: Any) -> Any:
    """
    Return the values of a class as written today: up to 0.1.0 a flag `obstacle` was the role.

    A name of the known lists gets the role that it has there. Of other names, what was an obstacle
    is dynamic and all else is static, so that a robot does not enter what nobody called free.
    """
    if not isinstance(entry, dict) or 'role' in entry or not isinstance(
            entry.get('obstacle'), bool):
        return entry
    values = {key: value for key, value in entry.items() if key != 'obstacle'}
    role = 'dynamic' if entry['obstacle'] else 'static'
    return {**values, 'role': _ROLES.get(str(entry.get('name')), role)}


def class_list(wanted: str | None, count: int, head: str) -> list[SemanticClass]:
    """
    Return the `count` classes of a head: a list by name, from a YAML file, or by count.

    The file holds a list of names, or of mappings with name, color and role. Raise
    `UserError` where the list has another length, or where nothing tells the classes.
    """
    known = ', '.join(f'{name} ({len(entries)})' for name, entries in CLASS_LISTS.items())
    if wanted is None:
        for entries in CLASS_LISTS.values():
            if len(entries) == count:
                return entries
        raise UserError(f'{head}: has {count} classes, no known list has so many ({known}): '
                        'name them in a YAML file with --classes')
    entries = CLASS_LISTS[wanted] if wanted in CLASS_LISTS else _read_classes(Path(wanted), known)
    if len(entries) != count:
        raise UserError(f'{head}: has {count} classes, the list {wanted!r} has {len(entries)}')
    return entries


def _read_classes(path: Path, known: str) -> list[SemanticClass]:
    if not path.exists():
        raise UserError(f'classes {str(path)!r}: no such file; accepted: {known}, or a YAML file')
    form = 'must be a YAML list of names, or of name, color and role'
    try:
        data = read_yaml(path)
    except UserError as error:
        raise UserError(f'{error}; {form}') from None
    try:
        return [
            SemanticClass(**with_role(entry)) if isinstance(entry, dict) else
            SemanticClass(name=entry, color=voc_color(number), role=_ROLES.get(entry, 'static'))
            for number, entry in enumerate(data, start=1)]
    except (ValidationError, ValueError, TypeError) as error:
        raise UserError(f'{path}: {form}: {" ".join(str(error).split())[:200]}') from None
