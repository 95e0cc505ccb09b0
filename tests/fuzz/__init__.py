"""What the fuzz targets of Python do with an input, and the replay of their corpora."""
