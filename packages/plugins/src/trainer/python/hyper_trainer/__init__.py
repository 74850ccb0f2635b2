"""Fine-tunes a language model on sealed data. See launch.py for how it is started and config.py for what it is told."""

__version__ = "0.1.0"
