"""The chain of proxies, as a whole."""
