"""What `doctor` looks at: one finding a line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from vision_pipeline.cli.servers import check_server, server_url
from vision_pipeline.core.config import RunConfig
from vision_pipeline.core.errors import ConfigError, EndpointError, RunError, SourceError
from vision_pipeline.core.findings import Finding
from vision_pipeline.wiring import images, ledgers, library, services


def run_checks(config: RunConfig) -> Iterator[Finding]:
    """Look at everything that a run needs, one after the other; nothing is paid for."""
    checks: tuple[tuple[str, Callable[[RunConfig], str]], ...] = (
        ("prompt", _prompt),
        ("source", _source),
        ("formats", _formats),
        ("key", _key),
        ("model", _model),
        ("endpoint", _endpoint),
        ("output", _output),
        ("ledger", ledgers.probe_ledger),
        ("prefect", _prefect),
    )
    for name, look in checks:
        try:
            yield Finding(name, ok=True, detail=look(config))
        except RunError as error:
            yield Finding(name, ok=False, detail=str(error))
            if name == "prefect":
                return
    if server_url(os.environ):
        from flows.inspection import look_at_server

        yield from look_at_server(config)


def _prompt(config: RunConfig) -> str:
    template = library.load_template(config.prompt)
    answers = len(template.schema.columns) if template.schema else 1
    return f"{template.name} version {template.version}, {answers} answer columns ({template.file})"


def _source(config: RunConfig) -> str:
    source = images.build_source(config, count_pages=lambda _: 1)
    first = next(source.batches(), None)
    if first is None:
        raise SourceError(f"{config.source.path or config.source.manifest}: no images")
    return f"{config.source.path or config.source.manifest}, first item {first['item_id'][0]}"


def _formats(_config: RunConfig) -> str:
    formats = images.optional_formats()
    missing = [name for name, is_installed in formats.items() if not is_installed]
    if not missing:
        return f"{', '.join(formats)} and all that need no extra"
    return f"not {', '.join(missing)}: pip install -c constraints.txt '.[formats]' adds them"


def _key(config: RunConfig) -> str:
    if config.model.provider == "emulator":
        return "the emulator needs none"
    if config.model.api_key_block:
        return f"from the Prefect Secret block {config.model.api_key_block}"
    return "set" if library.find_key(config.model, os.environ) else "none, and none is needed"


def _model(config: RunConfig) -> str:
    name = config.model.name
    spec = library.find_model(config.model, library.load_catalogue(), today=datetime.now(UTC))
    if spec is None:
        return f"{name}: not in models.yaml; works, but without a price"
    price = spec.price
    cost = f"{price.input:g} / {price.output:g} USD per million tokens" if price else "no price"
    return f"{name}: sees images, {cost}"


def _endpoint(config: RunConfig) -> str:
    model = config.model
    if model.provider == "emulator" and model.base_url is None:
        if model.engine == "ocr" and importlib.util.find_spec("rapidocr") is None:
            raise ConfigError("the ocr engine needs: pip install -c constraints.txt '.[local]'")
        return f"an emulator with the engine {model.engine} is started for the run"
    listing = services.probe_model(model, os.environ)
    if not listing.listed:
        raise EndpointError(f"answers, but does not list {model.name} among {listing.count} models")
    if listing.vision is False:
        raise EndpointError(f"answers, but {model.name} does not see images")
    return f"answers, lists {model.name}" + (", sees images" if listing.vision else "")


def _output(config: RunConfig) -> str:
    return f"{services.check_output(config)} is writable"


def _prefect(_config: RunConfig) -> str:
    url = server_url(os.environ)
    if url is None:
        return "no server is set: runs use --engine local, or a temporary server on request"
    check_server(url)
    return f"{url} answers"
