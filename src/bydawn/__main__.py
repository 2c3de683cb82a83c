"""``python -m bydawn`` is ``bydawn``."""

from bydawn.cli import main

if __name__ == "__main__":
    main()
