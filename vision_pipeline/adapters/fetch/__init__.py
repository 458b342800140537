"""Images behind `http` and `https` URLs: fetched within limits, and only from public addresses."""

from vision_pipeline.adapters.fetch.fetcher import UrlFetcher
from vision_pipeline.adapters.fetch.settings import FetchSettings

__all__ = ["FetchSettings", "UrlFetcher"]
