"""The sample images: one module a kind of image, each drawn together with the truth about it."""
