"""Simulated lives: see `support.swarm`. Many more of them: ``python tests/sim/live.py --count 10000``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.swarm import Life

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = 20


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_life_full_of_trouble_ends_well(tmp_path: Path, seed: int) -> None:
    Life(seed, tmp_path).live()


def test_the_same_seed_lives_the_same_life(tmp_path: Path) -> None:
    figures = []
    for number in range(2):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        figures.append(Life(7, folder).live())

    assert figures[0] == figures[1]
