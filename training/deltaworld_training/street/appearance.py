# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How one clip looks: light, sky, weather and surface colours, drawn once for a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Appearance:
    """Uniforms of all shaders; colours are linear RGB, directions are in the world frame."""

    sun_direction: tuple[float, float, float]
    sun_color: tuple[float, float, float]
    ambient: tuple[float, float, float]
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    cloud_cover: float
    cloud_offset: tuple[float, float]
    fog_density: float
    exposure: float
    shadow: float
    wetness: float
    lamps: float
    asphalt: tuple[float, float, float]
    asphalt_roughness: float
    crack: float
    grass: tuple[float, float, float]
    soil: tuple[float, float, float]
    foliage: tuple[float, float, float]
    pavement: tuple[float, float, float]
    paint_wear: float
    texture_offset: tuple[float, float]


WEATHERS = ('clear', 'cloudy', 'overcast', 'dusk', 'haze')
_WEATHER_ODDS = (0.34, 0.27, 0.21, 0.09, 0.09)


def _vary(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """Return the colour with a random common gain and a smaller gain for each channel."""
    gain = np.exp(rng.normal(0.0, amount) + rng.normal(0.0, 0.3 * amount, 3))
    red, green, blue = (np.asarray(color) * gain).tolist()
    return red, green, blue


def sample_appearance(rng: np.random.Generator) -> Appearance:
    """Draw the look of a clip."""
    weather = WEATHERS[rng.choice(len(WEATHERS), p=_WEATHER_ODDS)]
    elevation = np.deg2rad(rng.uniform(18, 70))
    sun, ambient = 2.2, (0.42, 0.48, 0.60)
    zenith, horizon = (0.10, 0.26, 0.62), (0.50, 0.64, 0.82)
    sun_color, cover, fog, shadow = (1.0, 0.94, 0.84), rng.uniform(0.0, 0.35), 0.0008, 0.62
    if weather == 'cloudy':
        cover, sun, shadow = rng.uniform(0.4, 0.75), rng.uniform(1.2, 2.0), rng.uniform(0.3, 0.6)
    elif weather == 'overcast':
        cover, sun, shadow, fog = rng.uniform(0.85, 1.0), rng.uniform(0.1, 0.4), 0.15, 0.0016
        ambient = (0.72, 0.75, 0.80)
        zenith, horizon = (0.48, 0.52, 0.58), (0.72, 0.75, 0.79)
    elif weather == 'dusk':
        elevation = np.deg2rad(rng.uniform(4, 14))
        sun, shadow, cover = rng.uniform(1.0, 2.2), 0.38, rng.uniform(0.1, 0.6)
        ambient, sun_color = (0.30, 0.29, 0.36), (1.0, 0.66, 0.38)
        zenith, horizon = (0.10, 0.18, 0.40), (0.86, 0.58, 0.38)
    elif weather == 'haze':
        fog, sun, shadow = rng.uniform(0.003, 0.009), rng.uniform(0.5, 1.2), 0.3
        ambient, horizon, zenith = (0.60, 0.62, 0.66), (0.74, 0.77, 0.80), (0.42, 0.52, 0.66)
    azimuth = rng.uniform(-np.pi, np.pi)
    direction = (float(np.cos(elevation) * np.cos(azimuth)),
                 float(np.cos(elevation) * np.sin(azimuth)), float(np.sin(elevation)))
    season = rng.choice(3, p=(0.62, 0.25, 0.13))
    grass = ((0.085, 0.14, 0.035), (0.20, 0.17, 0.075), (0.14, 0.15, 0.05))[season]
    foliage = ((0.040, 0.085, 0.020), (0.10, 0.095, 0.035), (0.16, 0.085, 0.025))[season]
    grey = rng.uniform(0.07, 0.26)
    return Appearance(
        sun_direction=direction,
        sun_color=_vary(rng, (sun * sun_color[0], sun * sun_color[1], sun * sun_color[2]), 0.08),
        ambient=_vary(rng, ambient, 0.12),
        zenith=_vary(rng, zenith, 0.15),
        horizon=_vary(rng, horizon, 0.10),
        cloud_cover=float(cover),
        cloud_offset=(float(rng.uniform()), float(rng.uniform())),
        fog_density=float(fog * rng.uniform(0.6, 1.4)),
        exposure=float(rng.uniform(0.75, 1.30)),
        shadow=float(shadow * rng.uniform(0.8, 1.15)),
        wetness=float(rng.uniform(0.3, 0.8)) if rng.uniform() < 0.12 else 0.0,
        lamps=1.0 if weather == 'dusk' else float(rng.uniform() < 0.25) * 0.7,
        asphalt=_vary(rng, (grey, grey, grey * rng.uniform(0.94, 1.06)), 0.05),
        asphalt_roughness=float(rng.uniform(0.5, 1.4)),
        crack=float(rng.uniform(0.0, 1.0)),
        grass=_vary(rng, grass, 0.25),
        soil=_vary(rng, (0.20, 0.15, 0.09), 0.25),
        foliage=_vary(rng, foliage, 0.25),
        pavement=_vary(rng, (0.34, 0.33, 0.31), 0.22),
        paint_wear=float(rng.uniform(0.0, 0.75)),
        texture_offset=(float(rng.uniform()), float(rng.uniform())),
    )


def noise_texture(size: int = 256) -> np.ndarray:
    """Return the tiling noise (size, size, 4) uint8: coarse, medium, cracks and grain."""
    rng = np.random.default_rng(7)
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency[None])
    radius[0, 0] = 1.0

    def fractal(slope: float, low: float) -> np.ndarray:
        spectrum = np.fft.fft2(rng.normal(size=(size, size)))
        field = np.fft.ifft2(spectrum * radius**-slope * (radius >= low)).real
        return field / field.std()

    coarse = 0.5 + 0.2 * fractal(1.6, 2)
    medium = 0.5 + 0.2 * fractal(0.9, 8)
    ridge = np.abs(fractal(1.9, 3))
    cracks = np.clip(1.0 - ridge / 0.05, 0.0, 1.0)
    grain = rng.uniform(size=(size, size))
    stack = np.stack([coarse, medium, cracks, grain], -1)
    return (np.clip(stack, 0.0, 1.0) * 255).astype(np.uint8)
