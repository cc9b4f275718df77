"""The formats a model can be exported to."""

from __future__ import annotations

from banyan.core.registry import Registry
from banyan.transfer.export_format import ExportFormat
from banyan.transfer.export_hf import HuggingFaceDirectory
from banyan.transfer.gguf import GgufFile

EXPORT_FORMATS: Registry[ExportFormat] = Registry("export format")

EXPORT_FORMATS.add("hf", HuggingFaceDirectory())
EXPORT_FORMATS.add("gguf", GgufFile())
