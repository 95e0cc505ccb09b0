"""Live recordings in namespaces of their own; they need root."""
