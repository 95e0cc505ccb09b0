"""Beyond one machine: what a sensor, a worker and a Redis spend on each event and record.

python -m bench.scale [--events 100000] [--runs 3] [--partitions 16]
"""
