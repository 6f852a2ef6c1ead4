"""The event log: append, read, seal and replay the immutable facts that everything else is derived from."""

from .consumers import Consumers
from .reader import Reader
from .rewrite import Rewriter
from .seal import Sealer, Segment, Segments
from .writer import Writer

__all__ = ["Consumers", "Reader", "Rewriter", "Sealer", "Segment", "Segments", "Writer"]
