"""The Mistral API on this machine: contract, limits, engines. Never a vision LLM."""
