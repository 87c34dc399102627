# Copyright 2026 The deltaworld_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The one error type that a user's mistake raises."""


class UserError(ValueError):
    """A mistake in a file, parameter or message: one line that says what is accepted."""
