# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Everything that `deltaworld train diversity` does: true futures, scores, table and files."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from rich.progress import Progress
from rich.table import Table

from deltaworld_ros.bundle import load_bundle
from deltaworld_ros.bundle.whole_file import check_writable, write_whole
from deltaworld_ros.engine import load_engine
from deltaworld_ros.errors import UserError
from deltaworld_training.diversity.bundle_scores import Queries, bundle_scores, check_times
from deltaworld_training.diversity.cache import build_futures, cached_futures
from deltaworld_training.diversity.tables import diversity_markdown, diversity_table


def report_diversity(
    bundle: str, pasts: int, queries: Sequence[str], folder: Path, first_seed: int = 0,
    workers: int = 2, json_path: Path | None = None, markdown: Path | None = None,
) -> Table:
    """
    Measure a bundle on the first open pasts of the test worlds and return the table.

    Each size of pictures and first seed has its own folder of true futures in `folder`.
    """
    ways = [way for way in get_args(Queries) if way in queries]
    if len(ways) != len(queries):
        raise UserError(f'--queries {",".join(queries)}: must be kept, fresh or kept,fresh')
    for path in (json_path, markdown):
        if path is not None:
            check_writable(path)
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    check_times(manifest)
    size = manifest.image_width, manifest.image_height
    place = folder / f'{size[0]}x{size[1]}_{first_seed}'
    build_futures(place, pasts, size, first_seed, workers)
    engine = load_engine(loaded, log=lambda line: print(line, file=sys.stderr))
    with Progress() as progress:
        task = progress.add_task('measuring', total=pasts)
        scores = bundle_scores(
            engine, manifest, cached_futures(place, pasts), ways,
            advance=lambda: progress.advance(task))
    engine.close()
    if json_path is not None:
        result = {'bundle': manifest.name, 'pasts': pasts, 'first_seed': first_seed,
                  'lead': manifest.leads[-1], 'scores': scores}
        write_whole(json_path, json.dumps(result, indent=2, allow_nan=False) + '\n')
    if markdown is not None:
        write_whole(markdown, diversity_markdown(scores))
    title = f'{manifest.name}: {pasts} pasts, {manifest.leads[-1]:g} s ahead'
    return diversity_table(scores, title)
