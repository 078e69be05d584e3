"""Bytes and formats: images, indexed images and palettes as files."""
