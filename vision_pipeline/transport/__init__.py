"""Connections to a provider's API, whichever of its services is called: where, with what key."""
