"""Fits requests to models, by rules that are data.

What is known of each provider's models stands in ``facts/<provider>.toml``: families, end dates, accepted efforts and
parameter rules, each with its source and how sure it is. `load_facts` reads it (and the user's own additions), a
`FactBook` answers for one model, an `Adapter` changes one request body and says what it changed. Facts can be wrong:
nothing here refuses a request, a model nobody listed passes untouched, and the provider has the last word.
"""

from bydawn.adapt.adapter import Adapter
from bydawn.adapt.book import FactBook, ModelFacts, load_facts
from bydawn.adapt.routing import choose_endpoint
from bydawn.adapt.rules import RuleRow

__all__ = ["Adapter", "FactBook", "ModelFacts", "RuleRow", "choose_endpoint", "load_facts"]
