"""Every LLM's batch API behind one durable command. Half the price, done by dawn."""

__version__ = "0.1.0.dev0"
