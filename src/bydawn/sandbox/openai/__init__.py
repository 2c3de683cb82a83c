"""OpenAI as a sandbox: files, batches, models and the live endpoints that a batch can hold.

Written from the protocol's documents alone. Dates and names of models and their rules lie in ``models.toml``.
"""

from bydawn.sandbox.openai.routes import OpenAI

__all__ = ["OpenAI"]
