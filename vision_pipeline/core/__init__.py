"""Pure: no disk, network, clock, event loop or logging."""
