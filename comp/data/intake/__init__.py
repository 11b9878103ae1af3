"""What `comp init` understands of a folder: its images, masks, tables and classes, written as YAML."""
