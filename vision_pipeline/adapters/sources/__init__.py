"""Where items come from: folders and manifests, local or behind a URL, as Arrow record batches."""

from vision_pipeline.adapters.sources.opening import Source, open_source
from vision_pipeline.adapters.sources.trees import local_root

__all__ = ["Source", "local_root", "open_source"]
