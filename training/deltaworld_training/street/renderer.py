# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""OpenGL rendering of a street world: colour, labels and metric depth in one pass."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass, fields

import numpy as np

# Mesa's software rasteriser: one thread a process; use more processes for more cores.
os.environ.setdefault('LP_NUM_THREADS', '0')

import moderngl

from deltaworld_training.street import object_shaders, shaders, surfaces
from deltaworld_training.street.appearance import Appearance, noise_texture
from deltaworld_training.street.meshes import build_meshes
from deltaworld_training.street.world import StreetWorld

NEAR, FAR = 0.4, 1200.0
MAX_INSTANCES = 4096  # of one mesh in view
MESH_ATTRIBUTES = {'in_position': 3, 'in_normal': 3, 'in_extra': 4}
INSTANCE_ATTRIBUTES = {'i_position': 3, 'i_yaw': 1, 'i_scale': 3, 'i_color': 3, 'i_param': 4}
MESH_PROGRAMS = {'box': 'prop', 'pole': 'prop', 'building': 'building', 'house': 'building',
                 'tree': 'tree', 'shadow': 'shadow'}  # all others: vehicle
FAR_MESH = 38.0  # m; beyond it vehicles are drawn with less detail
VIEW_RANGE = {'shadow': 90.0, 'pedestrian': 120.0, 'cyclist': 120.0, 'pole': 160.0}


@dataclass(frozen=True)
class Frame:
    """One rendered view; depth is along the optical axis and infinite in the sky."""

    rgb: np.ndarray  # (h, w, 3) uint8
    depth: np.ndarray  # (h, w) float32, metres
    labels: np.ndarray  # (h, w) uint8, class ids
    camera_to_world: np.ndarray  # (4, 4), optical frame
    intrinsics: np.ndarray  # (3, 3), pixel centres at whole numbers
    ego: np.ndarray  # (2, 3), see `StreetWorld.ego_places`


@dataclass(frozen=True)
class Uploaded:
    """A surface in the context's memory."""

    array: moderngl.VertexArray
    surface: surfaces.Surface
    buffers: tuple[moderngl.Buffer, moderngl.Buffer]


class Renderer:
    """An offscreen context of a fixed image size; one a process."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.context = moderngl.create_context(standalone=True, backend='egl',
                                               libegl='libEGL.so.1', libgl='libGL.so.1')
        gl = self.context
        self._color = gl.texture((width, height), 4)
        self._depth = gl.depth_texture((width, height))
        self._target = gl.framebuffer([self._color], self._depth)
        noise = noise_texture()
        texture = gl.texture(noise.shape[:2], 4, noise.tobytes())
        texture.build_mipmaps()
        texture.filter = (gl.LINEAR_MIPMAP_NEAREST, gl.LINEAR)
        texture.use(0)
        self._noise = texture
        self._programs = {
            'sky': gl.program(shaders.SKY_VERTEX, shaders.SKY_FRAGMENT),
            'road': gl.program(shaders.GROUND_VERTEX, shaders.ROAD_FRAGMENT),
            'pavement': gl.program(shaders.GROUND_VERTEX, shaders.PAVEMENT_FRAGMENT),
            'terrain': gl.program(shaders.GROUND_VERTEX, shaders.TERRAIN_FRAGMENT),
            'wall': gl.program(shaders.GROUND_VERTEX, shaders.WALL_FRAGMENT),
            'vehicle': gl.program(object_shaders.OBJECT_VERTEX, object_shaders.VEHICLE_FRAGMENT),
            'prop': gl.program(object_shaders.OBJECT_VERTEX, object_shaders.PROP_FRAGMENT),
            'building': gl.program(object_shaders.OBJECT_VERTEX, object_shaders.BUILDING_FRAGMENT),
            'tree': gl.program(object_shaders.TREE_VERTEX, object_shaders.TREE_FRAGMENT),
            'shadow': gl.program(object_shaders.SHADOW_VERTEX, object_shaders.SHADOW_FRAGMENT),
        }
        self._instances = gl.buffer(reserve=14 * 4 * MAX_INSTANCES, dynamic=True)
        self._meshes: dict[str, tuple[moderngl.VertexArray, str]] = {}
        for name, mesh in build_meshes().items():
            program = MESH_PROGRAMS.get(name, 'vehicle')
            self._meshes[name] = self._instanced_array(program, mesh), program
        corners = gl.buffer(np.array([-1, -1, 3, -1, -1, 3], 'f4').tobytes())
        self._sky = gl.vertex_array(self._programs['sky'], [(corners, '2f', 'in_position')])
        self._ring = self._upload(surfaces.horizon_ring()).array
        self._world: StreetWorld | None = None
        self._surfaces: list[Uploaded] = []

    def _instanced_array(self, program: str, mesh: np.ndarray) -> moderngl.VertexArray:
        """Join a mesh and the buffer of instances; attributes unused by a program are padding."""
        members = self._programs[program]
        content = []
        for buffer, attributes, step in (
                (self.context.buffer(mesh.astype('f4').tobytes()), MESH_ATTRIBUTES, ''),
                (self._instances, INSTANCE_ATTRIBUTES, '/i')):
            used = [name for name in attributes if name in members]
            layout = ' '.join(f'{size}f' if name in members else f'{4 * size}x'
                              for name, size in attributes.items())
            content.append((buffer, layout + step, *used))
        return self.context.vertex_array(members, content)

    def _upload(self, surface: surfaces.Surface) -> Uploaded:
        gl = self.context
        members = self._programs[surface.program]
        data, index = gl.buffer(surface.vertices.tobytes()), gl.buffer(surface.indices.tobytes())
        content = [(data, '3f 3f 4f', 'in_position', 'in_normal', 'in_road')]
        return Uploaded(gl.vertex_array(members, content, index), surface, (data, index))

    def _load(self, world: StreetWorld) -> None:
        """Upload the static surfaces of a world and set the uniforms of its look."""
        for uploaded in self._surfaces:
            uploaded.array.release()
            for buffer in uploaded.buffers:
                buffer.release()
        self._surfaces = [self._upload(surface) for surface in world.scenery.surfaces]
        look: Appearance = world.appearance
        for program in self._programs.values():
            for field, value in zip(fields(look), astuple(look), strict=True):
                if field.name in program:
                    program[field.name].value = value
        self._world = world

    def _set_road(self, world: StreetWorld, road: int) -> None:
        """Set what the asphalt shader draws on the main road (0) or a side street."""
        program = self._programs['road']
        junctions = world.layout.junctions
        section = world.layout.main.section if road == 0 else junctions[road - 1].street.section
        main = world.layout.main.section
        values = {
            'lane_width': section.lane_width, 'median': section.median,
            'lanes': (section.lanes_forward, section.lanes_backward),
            'parking': section.parking + section.shoulder, 'center_line': section.center_line,
            'edge_lines': int(section.edge_lines), 'dash': section.dash,
            'cross_half': 0.0 if not junctions else junctions[0].street.section.right_edge
            if road == 0 else max(main.left_edge, main.right_edge),
            'crosswalk': float(road == 0 or junctions[road - 1].signalled), 'line_half': .075,
        }
        for name, value in values.items():
            program[name].value = value

    def render(self, world: StreetWorld, ahead: float = 0.0) -> Frame:
        """Render a world `ahead` seconds (less than one step) after its time."""
        gl = self.context
        if world is not self._world:
            self._load(world)
        pose = world.ego_camera(ahead)
        focal = self.width / 2 / np.tan(world.camera.field_of_view / 2)
        view_projection, inverse = self._matrices(pose, focal)
        eye = tuple(pose[:3, 3])
        matrix = view_projection.T.astype('f4').tobytes()
        for program in self._programs.values():
            if 'view_projection' in program:
                program['view_projection'].write(matrix)
            if 'eye' in program:
                program['eye'].value = eye
        self._programs['sky']['inverse_rotation'].write(inverse.T.astype('f4').tobytes())
        self._target.use()
        self._target.clear(0.0, 0.0, 0.0, 1.0)
        gl.enable_only(gl.DEPTH_TEST)
        gl.depth_func = '<='
        gl.front_face = 'cw'  # the projection turns the picture upside down for reading
        self._draw(world, pose, ahead)
        raw = np.frombuffer(self._target.read(components=4), np.uint8)
        image = raw.reshape(self.height, self.width, 4)
        buffer = np.frombuffer(self._depth.read(), np.float32).reshape(self.height, self.width)
        depth = np.float32(NEAR * FAR) / (np.float32(FAR) - np.float32(FAR - NEAR) * buffer)
        depth[buffer >= 1.0] = np.inf
        intrinsics = np.array([[focal, 0, (self.width - 1) / 2], [0, focal, (self.height - 1) / 2],
                               [0, 0, 1]])
        return Frame(np.ascontiguousarray(image[..., :3]), depth,
                     np.ascontiguousarray(image[..., 3]), pose, intrinsics,
                     world.ego_places(ahead))

    def _matrices(self, pose: np.ndarray, focal: float) -> tuple[np.ndarray, np.ndarray]:
        """Return view-projection (rows top down) and clip space to world rays."""
        view = np.eye(4)
        view[:3, :3] = pose[:3, :3].T
        view[:3, 3] = -pose[:3, :3].T @ pose[:3, 3]
        x, y = 2 * focal / self.width, 2 * focal / self.height
        span = FAR - NEAR
        projection = np.array([[x, 0, 0, 0], [0, y, 0, 0],
                               [0, 0, (FAR + NEAR) / span, -2 * FAR * NEAR / span], [0, 0, 1, 0]])
        inverse = np.eye(4)
        inverse[:3, :3] = pose[:3, :3] @ np.diag([1 / x, 1 / y, 1.0])
        return projection @ view, inverse

    def _draw(self, world: StreetWorld, pose: np.ndarray, ahead: float) -> None:
        gl = self.context
        tables: dict[str, list[np.ndarray]] = {
            name: [table] for name, table in world.scenery.instances.items()}
        for name, rows in world.moving_instances(ahead).items():
            tables.setdefault(name, []).append(rows)
        culled = {name: self._visible(name, parts, pose, world.camera.field_of_view)
                  for name, parts in tables.items()}
        gl.enable(gl.CULL_FACE)
        for name, table in culled.items():
            if name not in ('shadow', 'tree'):
                self._draw_detailed(name, table, pose)
        gl.disable(gl.CULL_FACE)
        on_main = world.vehicles.path[0] in world.routes.forward
        s = float(world.vehicles.s[0]) if on_main else None
        road = -1
        for uploaded in sorted(self._surfaces, key=lambda item: item.surface.program == 'wall'):
            surface = uploaded.surface
            if surface.program == 'road' and surface.road != road:
                road = surface.road
                self._set_road(world, road)
            self._draw_rows(uploaded, s)
        wall = self._programs['wall']
        wall['center'].value = tuple(pose[:3, 3])
        self._ring.render()
        wall['center'].value = 0.0, 0.0, 0.0
        if 'tree' in culled:
            self._draw_instances('tree', culled['tree'])
        self._sky.render()
        if 'shadow' in culled:
            gl.enable(gl.BLEND)
            # The label in the alpha channel stays as it is.
            gl.blend_func = gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE
            self._target.depth_mask = False
            self._draw_instances('shadow', culled['shadow'])
            self._target.depth_mask = True
            gl.disable(gl.BLEND)

    def _draw_rows(self, uploaded: Uploaded, s: float | None) -> None:
        """Draw the rows of a main road's surface near s; other surfaces in full."""
        array, surface = uploaded.array, uploaded.surface
        if s is None or surface.road != 0 or len(surface.row_s) < 8:
            array.render()
            return
        low = int(np.searchsorted(surface.row_s, s - 25)) - 1
        high = int(np.searchsorted(surface.row_s, s + 420))
        low, high = max(low, 0), min(high, len(surface.row_start) - 1)
        first, last = int(surface.row_start[low]), int(surface.row_start[high])
        if last > first:
            array.render(vertices=last - first, first=first)

    def _visible(self, name: str, parts: list[np.ndarray], pose: np.ndarray,
                 field_of_view: float) -> np.ndarray:
        """Return the instances that can be in view, nearest first."""
        table = np.concatenate(parts) if len(parts) > 1 else parts[0]
        away = table[:, :3] - pose[:3, 3].astype('f4')
        forward = away @ pose[:3, 2].astype('f4')
        aside = np.abs(away @ pose[:3, 0].astype('f4'))
        size = table[:, 4:7].max(1) * (1.0 if name in ('building', 'house', 'box', 'tree')
                                       else 7.0)
        if name == 'shadow':
            size = table[:, 4:7].sum(1) * 2.0
        slope = np.tan(field_of_view / 2)
        seen = (forward > -size) & (forward < VIEW_RANGE.get(name, 260.0) + size)
        seen &= aside - size * 1.5 < np.maximum(forward, 0) * slope
        order = np.argsort(forward[seen], kind='stable')[:MAX_INSTANCES]
        return table[seen][order]

    def _draw_detailed(self, name: str, table: np.ndarray, pose: np.ndarray) -> None:
        """Draw instances, sorted by distance, far ones with a simpler mesh if there is one."""
        if f'{name}_far' in self._meshes:
            forward = (table[:, :3] - pose[:3, 3].astype('f4')) @ pose[:3, 2].astype('f4')
            split = int(np.searchsorted(forward, FAR_MESH))
            self._draw_instances(f'{name}_far', table[split:])
            table = table[:split]
        self._draw_instances(name, table)

    def _draw_instances(self, name: str, table: np.ndarray) -> None:
        if not len(table):
            return
        array, program = self._meshes[name]
        if program == 'building':
            self._programs['building']['roofed'].value = int(name == 'house')
        self._instances.orphan()
        self._instances.write(np.ascontiguousarray(table, 'f4').tobytes())
        array.render(instances=len(table))

    def release(self) -> None:
        """Free the context."""
        self.context.release()
