"""comp: from a folder of images and masks to a cross-validated, honest ensemble and a submission."""

__version__ = "0.1.0"
