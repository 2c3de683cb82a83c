"""Lives many simulated lives from the command line, and reports how many ended well.

    python tests/sim/live.py --first 0 --count 10000 [--keep-going]

A failing seed is named with what went wrong; the same seed and commit live the same life again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.swarm import Life

MEMORY = Path("/dev/shm")


def main() -> int:
    """Live; return how many lives went wrong, at most 1 unless told to keep going."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1_000, help="how many seeds")
    parser.add_argument("--keep-going", action="store_true", help="go on after a failure")
    wishes = parser.parse_args()
    sums: Counter[str] = Counter()
    failed: list[int] = []
    started = time.monotonic()
    for seed in range(wishes.first, wishes.first + wishes.count):
        if not _lived_well(seed, sums):
            failed.append(seed)
            if not wishes.keep_going:
                break
    lived = seed - wishes.first + 1
    print(f"{lived} lives in {time.monotonic() - started:.0f} s: {dict(sums)}; failed seeds: {failed or 'none'}")
    return len(failed)


def _lived_well(seed: int, sums: Counter[str]) -> bool:
    folder = Path(tempfile.mkdtemp(prefix=f"bydawn-life-{seed}-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        sums.update({name: value for name, value in asdict(Life(seed, folder).live()).items() if name != "virtual_s"})
    except Exception as error:  # noqa: BLE001 - whatever it is, the seed is reported
        print(f"seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
        traceback.print_exc(limit=-3)
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


if __name__ == "__main__":
    sys.exit(min(main(), 100))
