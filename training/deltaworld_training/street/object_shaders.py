# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GLSL sources of things that stand on the surfaces; see `shaders` for the common part."""

from deltaworld_training.street.shaders import FRAGMENT, HEADER

INSTANCE_INPUT = """
in vec3 in_position; in vec3 in_normal; in vec4 in_extra;
in vec3 i_position; in float i_yaw; in vec3 i_scale; in vec3 i_color; in vec4 i_param;
vec3 turn(vec3 p) { float c = cos(i_yaw), s = sin(i_yaw);
  return vec3(c * p.x - s * p.y, s * p.x + c * p.y, p.z); }
"""

OBJECT_VERTEX = HEADER + INSTANCE_INPUT + """
out vec3 position; out vec3 normal; out vec4 extra; out vec4 param; out vec3 tint; out vec3 body;
void main() {
  vec3 p = in_position * i_scale;
  float limb = in_extra.w;
  // Legs (|limb| 1) swing from the hip, arms (0.8) from the shoulder, a rider's legs less.
  float reach = abs(limb) > 0.99 ? max(0.9 - p.z, 0.0)
      : abs(limb) > 0.7 ? max(1.42 - p.z, 0.0) : 0.3 * max(0.9 - p.z, 0.0);
  p.x += sin(i_param.y) * limb * 0.42 * reach;
  body = p;
  if (i_param.x > 6.5) p.z += p.x * i_param.w;
  position = turn(p) + i_position; normal = turn(in_normal); extra = in_extra; param = i_param;
  tint = i_color; gl_Position = view_projection * vec4(position, 1.0);
}
"""

# param: label, swing phase, brake light, slope
VEHICLE_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 extra; in vec4 param; in vec3 tint; in vec3 body;
void main() {
  vec3 n = normalize(normal), view = normalize(eye - position), albedo = tint;
  vec3 glow = vec3(0.0);
  vec4 dirt = noise_at(body.xz * 0.23 + body.yy * 0.13);
  float gloss = 0.25, material = extra.z + 0.5;
  if (material > 7.0) {  // cloth, or the trailer of a truck
    albedo = param.x > 7.5 ? tint.zxy * 0.35 : vec3(0.62) + 0.25 * (tint - 0.4);
    gloss = 0.05;
  } else if (material > 6.0) {  // skin
    albedo = mix(vec3(0.50, 0.33, 0.24), vec3(0.2, 0.12, 0.08), step(0.5, fract(tint.x * 17.0)));
  } else if (material > 5.0) {  // metal
    albedo = vec3(0.55);
  } else if (material > 4.0) {  // head lights
    albedo = vec3(0.75);
    glow = vec3(1.4, 1.3, 1.1) * lamps;
  } else if (material > 3.0) {  // tail lights
    albedo = vec3(0.30, 0.02, 0.02);
    glow = vec3(1.5, 0.08, 0.04) * max(param.z, 0.25 * lamps);
  } else if (material > 2.0) {  // rubber
    albedo = vec3(0.02);
    gloss = 0.03;
  } else if (material > 1.0) {  // glass
    albedo = vec3(0.015, 0.02, 0.022);
    gloss = 0.75;
  }
  if (param.x > 7.5) gloss = 0.0;
  albedo *= 0.82 + 0.3 * dirt.g - 0.25 * smoothstep(0.7, 0.2, body.z) * step(param.x, 7.5);
  float facing = max(dot(n, view), 0.0);
  float fresnel = gloss * (0.25 + 0.75 * pow(1.0 - facing, 4.0));
  vec3 bounce = reflect(-view, n);
  vec3 mirror = bounce.z > 0.0 ? mix(horizon, zenith, bounce.z) : asphalt * ambient;
  vec3 linear = mix(light(albedo, n, 1.0), mirror, fresnel) + glow;
  linear += sun_color * gloss * pow(max(dot(bounce, sun_direction), 0.0), 40.0);
  finish(linear, position, param.x);
}
"""

# param: label, pattern (0 plain, 1 sign, 2 concrete, 3 lamp, 4 wood), seed, slope
PROP_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 extra; in vec4 param; in vec3 tint; in vec3 body;
void main() {
  vec3 base = tint, glow = vec3(0.0);
  vec4 fine = noise_at(vec2(body.x + body.y, body.z) * 0.21 + param.z);
  float kind = param.y + 0.5;
  if (kind > 3.0 && kind < 4.0) { glow = tint * 1.3; }
  else if (kind > 1.0 && kind < 2.0) {
    vec2 q = vec2(body.y, body.z) * 2.2;
    float row = fract(q.y * 0.9);
    float word = noise_at(vec2(floor(q.y * 0.9) * 0.31 + param.z, q.x * 0.16)).a;
    float text = step(0.3, row) * step(row, 0.75) * step(0.42, word)
               * step(0.35, noise_at(q * 0.33).g);
    base = mix(tint, vec3(0.8), text * 0.9);
  } else { base *= 0.65 + 0.5 * fine.g + 0.2 * fine.a; }
  finish(light(base, normalize(normal), 1.0) + glow, position, param.x);
}
"""

# param: label, style seed, storey height, window share
BUILDING_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 extra; in vec4 param; in vec3 tint; in vec3 body;
uniform int roofed;
void main() {
  vec3 n = normalize(normal);
  float along = abs(extra.z) < 0.5 ? dot(position.xy, vec2(-n.y, n.x)) : 0.0;
  float z = body.z, floor_height = param.z, seed = param.y;
  float pitch = 1.6 + 2.2 * fract(seed * 3.7);
  vec2 wall = vec2(along, z);
  vec4 fine = noise_at((n.z > 0.3 ? position.xy : wall) * 0.13 + seed);
  float brick = 0.0;
  float px = fwidth(z) + fwidth(along);
  vec2 course = vec2(along / 0.45 + 0.5 * mod(floor(z / 0.16), 2.0), z / 0.16);
  brick = step(0.5, fract(seed * 5.3)) * (1.0 - smoothstep(0.02, 0.10, px))
          * (1.0 - step(0.08, fract(course.x)) * step(0.14, fract(course.y)));
  vec3 base = tint * (0.72 + 0.35 * fine.r + 0.22 * fine.a) * (1.0 - 0.25 * brick);
  base *= 1.0 - 0.3 * smoothstep(1.2, 0.0, z) * fine.g;
  float gloss = 0.0;
  if (n.z > 0.3) {
    base = extra.z > 0.5 ? tint.zxy * 0.45 * (0.6 + 0.8 * fine.a) : vec3(0.2);
  } else {
    vec2 cell = vec2(along / pitch, z / floor_height);
    vec2 q = fract(cell), id = floor(cell);
    float share = param.w;
    float top = 0.24 + 0.62 * (0.6 + 0.4 * share);
    float w = step(abs(q.x - 0.5), 0.5 * share) * step(0.24, q.y) * step(q.y, top);
    float pane = step(abs(q.x - 0.5), 0.5 * share - 0.04) * step(0.29, q.y) * step(q.y, 0.82);
    float frame = w - pane;
    if (z < floor_height && fract(seed * 9.1) > 0.45 && roofed == 0) {
      w = step(0.12, q.x) * step(q.y, 0.72) * step(0.06, q.y); frame = 0.0;
      vec3 awning = fract(vec3(seed * 11.0, seed * 17.0, seed * 23.0)) * 0.5;
      base = mix(base, awning, step(0.76, q.y));
    }
    if (roofed == 1 && z > floor_height * 2.0) w = 0.0;
    float h = noise_at(id * 0.173 + seed).a;
    vec3 room = mix(vec3(0.02, 0.025, 0.03), vec3(0.18, 0.17, 0.15), 0.8 * step(0.72, h));
    room += lamps * vec3(0.9, 0.65, 0.3) * step(0.62, h) * 0.7;
    base = mix(base, mix(room, tint * 0.9 + 0.12, step(0.5, frame)), w);
    gloss = w * (1.0 - step(0.5, frame));
  }
  vec3 view = normalize(eye - position);
  vec3 bounce = reflect(-view, n);
  vec3 linear = light(base, n, 1.0);
  float mirror = gloss * (0.18 + 0.6 * pow(1.0 - max(dot(view, n), 0.0), 3.0));
  linear = mix(linear, mix(horizon, zenith, max(bounce.z, 0.0)) * (0.55 + 0.6 * fine.r), mirror);
  finish(linear, position, param.x);
}
"""

# param: label, shape (0 broad, 1 conifer, 2 bush), seed, lean
TREE_VERTEX = HEADER + INSTANCE_INPUT + """
out vec3 position; out vec2 place; out vec4 param; out vec3 tint; out vec3 right;
void main() {
  vec3 to_eye = normalize(vec3(eye.xy - i_position.xy, 0.0) + vec3(1e-5, 0.0, 0.0));
  right = vec3(-to_eye.y, to_eye.x, 0.0);
  place = in_extra.xy; param = i_param; tint = i_color;
  position = i_position + right * in_extra.x * i_scale.x + vec3(0.0, 0.0, in_extra.y * i_scale.z);
  gl_Position = view_projection * vec4(position, 1.0);
}
"""
TREE_FRAGMENT = FRAGMENT + """
in vec3 position; in vec2 place; in vec4 param; in vec3 tint; in vec3 right;
void main() {
  vec2 n_at = vec2(place.x * 0.16 + param.z, place.y * 0.19 + param.z * 1.7);
  vec4 big = noise_at(n_at * 0.8), mid = noise_at(n_at * 2.6), leaf = noise_at(n_at * 9.0);
  float ragged = (big.r - 0.5) * 0.9 + (mid.g - 0.5) * 0.9 + (leaf.a - 0.5) * 0.30;
  vec2 c; float inside;
  if (param.y < 0.5) {
    c = vec2(place.x / 0.95, (place.y - 0.64) / 0.36);
    inside = 1.0 - length(c) + ragged * 0.55;
  } else if (param.y < 1.5) {
    float tier = abs(fract(place.y * 7.0) * 2.0 - 1.0);
    float width = 0.08 + 0.85 * (1.0 - place.y) * (0.75 + 0.25 * tier);
    c = vec2(place.x / width, 0.3);
    inside = (1.0 - abs(c.x)) * step(0.08, place.y) * 2.0 - 0.1 + ragged * 0.6;
  } else {
    c = vec2(place.x, place.y * 1.1 - 0.15);
    inside = 0.95 - length(vec2(place.x, place.y * 0.95)) + ragged * 0.35;
  }
  float trunk = step(abs(place.x + 0.06 * (mid.r - 0.5)), 0.045) * step(place.y, 0.55)
              * step(param.y, 1.5);
  if (inside < 0.0 && trunk < 0.5) discard;
  vec3 to_eye = vec3(-right.y, right.x, 0.0) * -1.0;
  float bulge = sqrt(max(1.0 - dot(c, c), 0.05));
  vec3 n = normalize(right * c.x + vec3(0.0, 0.0, c.y + 0.25) + to_eye * bulge);
  float clump = mid.g * 0.9 + leaf.g * 0.5 + (leaf.a - 0.5) * 0.5 + (big.g - 0.5) * 0.5;
  vec3 base = tint * mix(0.15, 1.9, clamp(clump, 0.0, 1.2));
  base *= 0.55 + 0.45 * smoothstep(-0.9, 0.6, c.y) ;
  if (inside < 0.0) { base = vec3(0.09, 0.07, 0.05) * (0.5 + mid.a); }
  finish(light(base, n, 0.9), position, param.x);
}
"""

# A flattened copy of a box on the ground, along the sun; darkens what is there.
SHADOW_VERTEX = HEADER + INSTANCE_INPUT + """
out vec2 place; out vec4 param; out vec3 position;
void main() {
  vec3 p = turn(in_position * i_scale) + vec3(0.0, 0.0, i_param.z);
  vec2 shift = sun_direction.xy / max(sun_direction.z, 0.22) * p.z;
  position = i_position + vec3(p.xy - shift, 0.03);
  if (i_param.y > 0.5) {  // blob
    position = i_position + vec3(turn(vec3(in_position.xy * i_scale.xy, 0.0)).xy, 0.03);
    if (i_param.y > 1.5) position.xy -= sun_direction.xy / max(sun_direction.z, 0.22) * i_scale.z;
  }
  place = in_position.xy * 2.0; param = i_param;
  gl_Position = view_projection * vec4(position, 1.0);
  // The faces towards the sun cover the shadow exactly once; a blob needs the top face only.
  float kept = i_param.y > 0.5 ? in_normal.z - 0.5 : dot(turn(in_normal), sun_direction);
  if (kept <= 0.0) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
}
"""
SHADOW_FRAGMENT = FRAGMENT + """
in vec2 place; in vec4 param; in vec3 position;
void main() {
  float strength = shadow;
  if (param.y > 0.5) {
    float r = length(place);
    strength = 0.62 * (1.0 - smoothstep(0.45, 1.0, r));
    float leaves = (noise_at(position.xy * 0.16).g - 0.5) * 0.9;
    if (param.y > 1.5) strength = shadow * smoothstep(0.05, 0.25, 1.0 - r + leaves);
    if (strength < 0.02) discard;
  }
  strength *= exp(-fog_density * length(position - eye));
  color = vec4(vec3(0.0), strength * 0.55);
}
"""
