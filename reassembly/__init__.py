"""The Python face of the engine: codecs, rules, flow records and their stores.

engine_config   a right configuration, read in plain Python, and the engine's JSON
settings        the models that say what is wrong with one
rules           what shows only between values; endpoints
layout          declared layouts, field by field
presets         the layouts that ship
capture_filter  `--filter`, compiled by libpcap

records         flow records: the engine's JSON lines, checked
store           finds the connection of an event, in memory or in SQLite
aside           what becomes of a file that is damaged
live_store      both together for a service: one thread adds, another asks
"""
