"""The Python face of the engine: codecs, rules, flow records and their stores."""
