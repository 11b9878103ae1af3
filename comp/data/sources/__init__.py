"""Where a competition keeps images and labels: patterns, manifest, COCO and run-length tables, masks -> records."""
