"""Where do ACN-Data's sessions come from? Files in every flavour that is about, and the service itself."""

from __future__ import annotations

from plugcast.adapters.acn.api import AcnApi
from plugcast.adapters.acn.client import ClientSettings
from plugcast.adapters.acn.files import AcnFile

__all__ = ["AcnApi", "AcnFile", "ClientSettings"]
