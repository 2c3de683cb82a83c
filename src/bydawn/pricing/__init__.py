"""What requests cost: prices by model and day, arithmetic in whole pico-dollars, and estimates before anything is sent.

`load_prices` gives a `PriceBook`; its `Rates` price one row at a time, as long-context prices demand. An unknown price
is None, never zero and never guessed.
"""

from bydawn.pricing.book import PriceBook, load_prices
from bydawn.pricing.rates import PICO, Rates, Tariff, Tier, usd, worst_case_picousd
from bydawn.pricing.tokens import SAFE_BYTES_PER_TOKEN, at_most_tokens, estimate_tokens, likely_tokens

__all__ = [
    "PICO",
    "SAFE_BYTES_PER_TOKEN",
    "PriceBook",
    "Rates",
    "Tariff",
    "Tier",
    "at_most_tokens",
    "estimate_tokens",
    "likely_tokens",
    "load_prices",
    "usd",
    "worst_case_picousd",
]
