# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
Names, colours and obstacle flags of the class lists that segmentation heads are trained on.

An obstacle is what a robot must not touch and what may move or be moved; walls, buildings and
ground are not among them.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from deltaworld_ros.bundle.manifest import SemanticClass
from deltaworld_ros.errors import UserError


def voc_color(number: int) -> tuple[int, int, int]:
    """Give the colour of a class number in the palette of PASCAL VOC, whose bits are spread."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number >> (3 * bit) & 1) << (7 - bit)
        green |= (number >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (number >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


STREET = [
    SemanticClass(name=name, color=color, obstacle=obstacle)
    for name, color, obstacle in (
        ('road', (110, 110, 118), False),
        ('sidewalk', (214, 150, 190), False),
        ('lane_marking', (250, 244, 200), False),
        ('terrain', (166, 186, 110), False),
        ('vegetation', (64, 128, 58), False),
        ('building', (150, 108, 88), False),
        ('sky', (120, 180, 230), False),
        ('vehicle', (30, 70, 200), True),
        ('pedestrian', (224, 40, 60), True),
        ('pole', (240, 190, 40), True),
    )
]

# In the order of the train ids of https://github.com/mcordts/cityscapesScripts.
CITYSCAPES = [
    SemanticClass(name=name, color=color, obstacle=obstacle)
    for name, color, obstacle in (
        ('road', (128, 64, 128), False),
        ('sidewalk', (244, 35, 232), False),
        ('building', (70, 70, 70), False),
        ('wall', (102, 102, 156), False),
        ('fence', (190, 153, 153), False),
        ('pole', (153, 153, 153), True),
        ('traffic light', (250, 170, 30), True),
        ('traffic sign', (220, 220, 0), True),
        ('vegetation', (107, 142, 35), False),
        ('terrain', (152, 251, 152), False),
        ('sky', (70, 130, 180), False),
        ('person', (220, 20, 60), True),
        ('rider', (255, 0, 0), True),
        ('car', (0, 0, 142), True),
        ('truck', (0, 0, 70), True),
        ('bus', (0, 60, 100), True),
        ('train', (0, 80, 100), True),
        ('motorcycle', (0, 0, 230), True),
        ('bicycle', (119, 11, 32), True),
    )
]

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
_VSPW_OBSTACLES = set("""
ladder Playground_slide goal pillar pole sculpture parasol_or_umbrella tent roadblock car bus truck
bicycle motorcycle wheeled_machine ship_or_boat raft airplane tyre traffic_light lamp person cat
dog horse cattle other_animal toy ball_net skateboard ball cupboard_or_showcase_or_storage_rack
box traveling_case_or_trolley_case basket bag_or_package trash_can cage barrel bed table_or_desk
chair_or_seat bench sofa shelf bathtub commode other_machine refrigerator washing_machine
flower_pot_or_vase train
""".split())
VSPW = [
    SemanticClass(name=name, color=voc_color(number), obstacle=name in _VSPW_OBSTACLES)
    for number, name in enumerate(_VSPW_NAMES, start=1)
]

CLASS_LISTS = {'vspw': VSPW, 'cityscapes': CITYSCAPES, 'street': STREET}


def class_list(wanted: str | None, count: int, head: str) -> list[SemanticClass]:
    """
    Give the classes of a head with `count` of them: a list by name, from a YAML file, or by count.

    The file holds a list of names, or of mappings with name, color and obstacle. Raise
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
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
        return [
            SemanticClass(**entry) if isinstance(entry, dict) else
            SemanticClass(name=entry, color=voc_color(number), obstacle=False)
            for number, entry in enumerate(data, start=1)]
    except OSError as error:
        raise UserError(f'classes {str(path)!r}: {error.strerror}; accepted: {known}, or a YAML '
                        'file') from None
    except (yaml.YAMLError, ValidationError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f'{path}: must be a YAML list of names, or of name, color and obstacle: '
                        f'{" ".join(str(error).split())[:200]}') from None
