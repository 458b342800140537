"""One outside thing per module; the modules do not know each other."""
