"""Any image file -> an array, by one rule: headers, decoding, bands, palettes, tif rows, places on the map."""
