# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""GLSL sources of the sky and of surfaces.

Every fragment shader writes linear light through `finish`.

The label travels in the alpha channel as label / 255, so that one 8-bit read gives both.
"""

HEADER = """#version 330
uniform mat4 view_projection; uniform vec3 eye;
uniform vec3 sun_direction; uniform vec3 sun_color;
uniform vec3 ambient; uniform vec3 zenith; uniform vec3 horizon; uniform float cloud_cover;
uniform vec2 cloud_offset; uniform float fog_density; uniform float exposure;
uniform float wetness;
uniform float lamps; uniform vec3 asphalt; uniform float asphalt_roughness; uniform float crack;
uniform vec3 grass; uniform vec3 soil; uniform vec3 foliage; uniform vec3 pavement;
uniform float paint_wear; uniform vec2 texture_offset; uniform float shadow;
"""

FRAGMENT = HEADER + """
uniform sampler2D noise; out vec4 color;
vec4 noise_at(vec2 p) { return texture(noise, p + texture_offset); }
vec3 light(vec3 albedo, vec3 normal, float open) {
  float diffuse = max(dot(normal, sun_direction), 0.0);
  return albedo * (ambient * (0.62 + 0.38 * normal.z) + sun_color * diffuse * open);
}
void finish(vec3 linear, vec3 position, float label) {
  float haze = 1.0 - exp(-fog_density * length(position - eye));
  linear = mix(linear, horizon * 0.9, haze);
  color = vec4(sqrt(1.0 - exp(-exposure * 1.9 * linear)), label / 255.0);
}
"""

SKY_VERTEX = """#version 330
in vec2 in_position; out vec3 ray; uniform mat4 inverse_rotation;
void main() { gl_Position = vec4(in_position, 1.0, 1.0);
  ray = (inverse_rotation * vec4(in_position, 1.0, 1.0)).xyz; }
"""
SKY_FRAGMENT = FRAGMENT + """
in vec3 ray;
void main() {
  vec3 d = normalize(ray);
  float up = max(d.z, 0.0);
  vec3 sky = mix(horizon, zenith, 1.0 - pow(1.0 - up, 3.0));
  vec2 p = d.xy / (up + 0.12) * 0.045 + cloud_offset;
  vec4 detail = noise_at(p * 3.1);
  float cloud = 0.62 * noise_at(p).r + 0.30 * detail.g + 0.08 * detail.a;
  float lit = noise_at(p + sun_direction.xy * 0.012).r;
  float cover = smoothstep(0.72 - 0.55 * cloud_cover, 0.95 - 0.5 * cloud_cover, cloud);
  vec3 bright = ambient * 0.9 + sun_color * 0.33;
  vec3 shade = mix(bright, ambient * 0.75 + horizon * 0.1, smoothstep(0.35, 0.8, lit));
  sky = mix(sky, shade, cover * smoothstep(0.0, 0.12, up) * 0.9);
  float glow = max(dot(d, sun_direction), 0.0);
  sky += sun_color * (0.22 * pow(glow, 24.0) + 3.0 * smoothstep(0.9990, 0.9997, glow)
         + 0.5 * pow(glow, 300.0)) * (1.0 - 0.8 * cloud_cover);
  color = vec4(sqrt(1.0 - exp(-exposure * 1.9 * sky)), 6.0 / 255.0);
}
"""

GROUND_VERTEX = HEADER + """
in vec3 in_position; in vec3 in_normal; in vec4 in_road; uniform vec3 center;
out vec3 position; out vec3 normal; out vec4 road;
void main() { position = in_position + center; normal = in_normal; road = in_road;
  gl_Position = view_projection * vec4(position, 1.0); }
"""

# road: s, t, distance to the next junction's middle, sign of (s - junction)
ROAD_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 road;
uniform float lane_width; uniform float median; uniform vec2 lanes; uniform float parking;
uniform int center_line; uniform int edge_lines; uniform vec2 dash; uniform float cross_half;
uniform float crosswalk; uniform float line_half;
float band(float distance, float half_width, float pixel) {
  return clamp((half_width - distance) / pixel + 0.5, 0.0, 1.0)
         * min(1.0, 2.0 * half_width / pixel);
}
void main() {
  float s = road.x, t = road.y, j = road.z - cross_half;
  float ft = max(fwidth(t), 1e-4), fs = max(fwidth(s), 1e-4);
  float a = abs(t) - median, count = t < 0.0 ? lanes.x : lanes.y;
  float k = clamp(round(a / lane_width), 0.0, count);
  float off = abs(a - k * lane_width);
  float phase = mod(s, dash.x + dash.y);
  float dashed = clamp((dash.x * 0.5 - abs(phase - dash.x * 0.5)) / fs + 0.5, 0.0, 1.0);
  dashed = mix(dashed, dash.x / (dash.x + dash.y), clamp(fs / dash.y - 0.3, 0.0, 1.0));
  float line = band(off, line_half, ft), yellow = 0.0;
  if (k < 0.5) {
    yellow = 1.0;
    if (median < 0.1) {
      line = center_line == 0 ? band(abs(abs(t) - 0.15), line_half * 0.8, ft)
           : center_line == 1 ? band(abs(t), line_half, ft) * dashed : 0.0;
    }
  } else if (k > count - 0.5) { line *= float(edge_lines); } else { line *= dashed; }
  float zebra = 0.0, stop = 0.0;
  line *= cross_half > 0.0 ? smoothstep(9.6, 9.8, j) : 1.0;
  float outer = median + count * lane_width;
  if (cross_half > 0.0) {
    float bars = band(abs(mod(t + 0.5, 1.1) - 0.55), 0.27, ft);
    zebra = band(abs(j - 7.0), 1.4, fs) * bars * crosswalk * step(abs(t), outer + parking);
    float approach = road.w * t;  // forward traffic (t < 0) arrives where s < junction
    stop = band(abs(j - 9.5), 0.25, fs) * step(0.0, approach) * step(0.2, a)
           * step(abs(t), outer);
  }
  vec2 p = position.xy;
  vec4 coarse = noise_at(p * 0.04), fine = noise_at(p * 0.31);
  float track = abs(fract(a / lane_width + 0.5) - 0.5) * 2.0;  // 1 at the lane's middle
  float worn = 0.10 * smoothstep(0.25, 0.0, abs(track - 0.5))
             - 0.12 * smoothstep(0.75, 1.0, track);
  vec3 base = asphalt * (1.0 + asphalt_roughness * (0.55 * (coarse.r - 0.5)
              + 0.35 * (fine.g - 0.5) + 0.5 * (fine.a - 0.5)) + worn * asphalt_roughness);
  vec2 cell = floor(vec2(s / 17.0, a / lane_width + 40.0));
  float patched = step(0.86, fract(sin(dot(cell, vec2(12.9, 78.2))) * 43758.5));
  base *= 1.0 - 0.22 * patched * crack;
  base *= 1.0 - 0.6 * crack * coarse.b * smoothstep(0.45, 0.7, coarse.g);
  float edge = smoothstep(outer + 0.3, outer + 1.5, abs(t));
  base *= 1.0 + 0.15 * edge * (1.0 - parking * 0.4);
  float mark = max(max(line, zebra), stop);
  float wear = clamp(1.0 - paint_wear * (0.4 + 1.4 * (fine.g - 0.3) + fine.a * 0.3), 0.25, 1.0);
  vec3 paint = (zebra + stop) < 0.01 && yellow > 0.5 ? vec3(0.75, 0.50, 0.10) : vec3(0.80);
  base = mix(base, paint * (0.85 + 0.15 * fine.a), mark * wear);
  vec3 view = normalize(eye - position);
  vec3 linear = light(base, normal, 1.0);
  float grazing = pow(1.0 - max(view.z, 0.0), 6.0);
  vec3 bounce = reflect(-view, normal);
  float mirror = pow(max(dot(bounce, sun_direction), 0.0), 30.0);
  float puddle = wetness * smoothstep(0.35, 0.6, fine.r + coarse.r * 0.3);
  linear = mix(linear * (1.0 - 0.35 * wetness), horizon, grazing * (0.10 + 0.55 * puddle));
  linear += sun_color * mirror * (0.10 + 0.6 * wetness);
  finish(linear, position, mark > 0.5 ? 2.0 : 0.0);
}
"""

PAVEMENT_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 road;
void main() {
  vec2 p = position.xy;
  float fine = noise_at(p * 0.17).g, grain = noise_at(p * 1.1).a;
  vec2 slab = abs(fract(road.xy / 1.5) - 0.5);
  float joint = smoothstep(0.485, 0.5, max(slab.x, slab.y))
              * (1.0 - smoothstep(0.0, 0.6, fwidth(road.x)));
  float tile = noise_at(floor(road.xy / 1.5) * 0.37).a;
  vec3 base = pavement * (0.70 + 0.3 * fine + 0.2 * grain + 0.15 * tile) * (1.0 - 0.4 * joint);
  if (normal.z < 0.5) base *= 0.8 + 0.3 * step(0.06, fract(road.x / 3.0));
  finish(light(base, normal, 1.0), position, 1.0);
}
"""

TERRAIN_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 road;
void main() {
  vec2 p = position.xy;
  float near = exp(-length(position - eye) * 0.02);
  vec4 wide = noise_at(p * 0.004), mid = noise_at(p * 0.03), fine = noise_at(p * 0.25);
  float blades = noise_at(p * vec2(1.3, 1.1)).a;
  float dry = clamp(wide.r * 1.6 - 0.45 + (mid.g - 0.5) * 0.9, 0.0, 1.0);
  vec3 base = mix(grass, soil, dry * 0.75);
  base *= 0.55 + 0.5 * mid.r + 0.5 * fine.g + near * 0.7 * (blades - 0.5);
  float verge = 1.0 - smoothstep(0.2, 1.6, road.y);  // road.y: distance from the asphalt here
  base = mix(base, soil * (0.8 + 0.6 * blades), verge * (0.35 + 0.5 * fine.r));
  finish(light(base, normal, 1.0), position, 3.0);
}
"""

# road: s, height, pattern (0 concrete, 1 guard rail, 2 tree line), total height
WALL_FRAGMENT = FRAGMENT + """
in vec3 position; in vec3 normal; in vec4 road;
void main() {
  float s = road.x, h = road.y, kind = road.z, total = road.w, label = 9.0;
  vec4 fine = noise_at(vec2(s, h) * 0.13), grain = noise_at(vec2(s, h) * 0.8);
  vec3 base = vec3(0.42, 0.41, 0.39) * (0.6 + 0.35 * fine.r + 0.3 * grain.a);
  base *= 1.0 - 0.5 * step(fract(s / 4.0), 0.02) - 0.25 * smoothstep(0.3, 0.0, h);
  vec3 n = normal;
  if (kind > 1.5) {
    label = 4.0;
    float top = noise_at(vec2(s * 0.021, kind * 0.3)).r * 0.45
              + noise_at(vec2(s * 0.11, 0.2)).g * 0.4;
    vec4 leaf = noise_at(vec2(s, h) * 0.055), small = noise_at(vec2(s, h) * 0.31);
    float ragged = 0.45 + 0.6 * top + 0.18 * (small.g - 0.5);
    if (h > total * ragged) discard;
    float clump = leaf.g * 0.75 + small.g * 0.5 + (grain.a - 0.5) * 0.35;
    base = foliage * mix(0.25, 2.1, clump * (0.35 + 0.65 * h / total));
    base = mix(base, foliage.grb * 0.9 + 0.01, 0.25 * smoothstep(0.5, 0.8, leaf.r));
    n = normalize(vec3(normal.xy, 0.8));
  } else if (kind > 0.5) {
    float post = step(fract(s / 2.0), 0.06), beam = step(0.42, h) * step(h, 0.76);
    if (post + beam < 0.5) discard;
    float fold = abs(fract((h - 0.42) / 0.17) - 0.5);
    base = vec3(0.36, 0.38, 0.40) * (0.6 + 0.6 * fold + 0.3 * fine.g) * (beam > 0.5 ? 1.0 : 0.5);
  }
  finish(light(base, n, 1.0), position, label);
}
"""
