"""Arrays in, arrays out: colors counted, palettes fitted, pixels mapped."""
