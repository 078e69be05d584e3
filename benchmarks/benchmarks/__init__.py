"""Benchmarks of napari-kmeans for asv."""
