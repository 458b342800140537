"""Where items come from: folders and manifests, local or behind a URL, as Arrow record batches."""

from vision_pipeline.adapters.sources.opening import Source, open_source

__all__ = ["Source", "open_source"]
