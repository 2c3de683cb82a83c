"""Goal: time and chance are handed in, and the system's own behave."""

from __future__ import annotations

import asyncio
import random

from bydawn.clock import SystemClock
from bydawn.ids import ALPHABET, IdSource


def test_tags_are_lower_case_and_of_the_length_asked_for():
    tag = IdSource().tag(200)
    assert len(tag) == 200
    assert set(tag) <= set(ALPHABET)
    assert tag == tag.lower()


def test_a_seed_gives_the_same_tags_again():
    first, second = IdSource(random.Random(3)), IdSource(random.Random(3))
    tags = [first.tag(12) for _ in range(50)]
    assert tags == [second.tag(12) for _ in range(50)]
    assert len(set(tags)) == 50


def test_the_system_clock_moves_on():
    clock = SystemClock()
    now, before = clock.now(), clock.monotonic()
    asyncio.run(clock.sleep(0.001))
    assert clock.monotonic() > before
    assert clock.now() > 1_700_000_000
    assert abs(clock.now() - now) < 3_600
