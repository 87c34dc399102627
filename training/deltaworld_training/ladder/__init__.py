# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""
The paper's ladder from DINO-world to DeltaWorld, trained at one budget on the street world.

`rows` names the models, `settings` the budgets, `data` makes the features, `training` trains one
part and measures it, `forecaster` samples futures, `evaluation` scores them, `run` does all of it
and `table`, `verdict` and `figure` write what came out.
"""
