"""What ``plugcast serve detect`` and ``serve forecast`` run: models from their folder, an engine over a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from plugcast.adapters.clock import SystemClock
from plugcast.adapters.files import LocalArtifacts
from plugcast.domain import topics
from plugcast.services.detect_run import load, require_detector
from plugcast.services.detection import in_its_zone
from plugcast.services.live_models import load_live
from plugcast.services.stream.detecting import Detecting
from plugcast.services.stream.engine import Engine
from plugcast.services.stream.forecasting import Forecasting
from plugcast.services.stream.metrics import EngineMetrics
from plugcast.services.stream.places import open_log
from plugcast.services.stream.topics import specs

if TYPE_CHECKING:
    from pathlib import Path

    from plugcast.config import Settings

GROUP: Final = "detectors"
FORECASTERS: Final = "forecasters"


def detector_engine(folder: Path, place: str, settings: Settings) -> tuple[Engine, EngineMetrics]:
    """An engine that turns station data into findings and scores.

    Args:
        folder: Of the detector, as ``plugcast detect FILE --model FOLDER`` leaves it.
        place: Of the log.
        settings: Zone of the local days (where none is set, that of the training), batch, idle time.

    Raises:
        ModelNotFoundError: There is no detector.
        LogError: The log cannot be reached.
    """
    detector = load(require_detector(folder))
    zone = in_its_zone(settings, detector).site.time_zone
    log = open_log(place, kafka=settings.kafka)
    log.ensure(specs())
    metrics = EngineMetrics("detect")
    engine = Engine(
        make_worker=lambda: log.worker(GROUP, [topics.STATION_DATA]),
        make_reader=lambda: log.reader(topics.DETECTOR_STATE),
        make_processor=lambda: Detecting(detector, time_zone=zone),
        clock=SystemClock(),
        batch=settings.stream.batch,
        idle_s=settings.stream.idle_s,
        metrics=metrics,
    )
    return engine, metrics


def forecaster_engine(folder: Path, place: str, settings: Settings) -> tuple[Engine, EngineMetrics]:
    """An engine that turns telemetry into forecasts.

    Args:
        folder: Of the models, as ``plugcast train`` leaves them.
        place: Of the log.
        settings: Batch.

    Raises:
        ModelNotFoundError: There are no models.
        LogError: The log cannot be reached.
    """
    models = load_live(LocalArtifacts(folder))
    log = open_log(place, kafka=settings.kafka)
    log.ensure(specs())
    metrics = EngineMetrics("forecast")
    engine = Engine(
        make_worker=lambda: log.worker(FORECASTERS, [topics.TELEMETRY]),
        make_reader=lambda: log.reader(topics.FORECASTER_STATE),
        make_processor=lambda: Forecasting(models),
        clock=SystemClock(),
        batch=settings.stream.batch,
        metrics=metrics,
    )
    return engine, metrics
