"""The extension module seen from Python: engine, headers, captures."""
