"""Write the benchmark's input: chat requests of about 620 bytes each, 62 MB for 100,000.

    python benchmarks/make_rows.py 100000 rows.jsonl

The same number of rows gives the same file.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import msgspec

from texts import TICKET_DIGITS

SYSTEM = (
    "You answer customers of a shop. Be brief and friendly, promise nothing that is not in the record, and keep to the "
    "language of the customer."
)
SENTENCES = (
    'My order has not come, and the page with the tracking number only says "in transit" since last week.',
    "The blue jacket is lovely, but the zip broke on the second day; is there a way to have it repaired?",
    "I was charged twice for the same basket: 48,90 € on Friday and the same again on Saturday.",
    "Könnten Sie mir bitte sagen, ob die Größe 42 noch einmal hereinkommt?",
    'Please change the address to 12 rue de l\'Église, 2nd floor, the bell says "Lefèvre".',
    "The coupon SPRING-10 is refused with the message: code\\expired, though the leaflet says end of May.",
    "Two of the six glasses arrived broken.\nI have kept the box and can send photographs.",
    "Thank you for the quick reply yesterday, that solved the first half of my problem.",
    "Would you recommend the larger tent for two adults, one child and a rather fat dog?",
    "I would rather have the money back than wait for another parcel to go missing.",
)
MESSAGE_CHARACTERS = 305
"""About how long the customer's message is."""


def row(number: int, rng: random.Random) -> dict[str, object]:
    """Return one request in the canonical chat form."""
    parts = [f"Ticket #{number:0{TICKET_DIGITS}d}"]
    while sum(map(len, parts)) < MESSAGE_CHARACTERS:
        parts.append(rng.choice(SENTENCES))
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": " ".join(parts)}]
    return {"id": f"mail-{number}", "messages": messages, "temperature": 0.2, "max_tokens": 120}


def write_rows(count: int, target: Path) -> None:
    """Write ``count`` rows to ``target``."""
    rng = random.Random(count)
    encoder = msgspec.json.Encoder()
    with target.open("wb") as file:
        for number in range(count):
            file.write(encoder.encode(row(number, rng)) + b"\n")


if __name__ == "__main__":
    write_rows(int(sys.argv[1]), Path(sys.argv[2]))
