"""What a mount reads before it is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreloadSettings:
    """What a mount reads before it is asked for.

    Attributes:
        traces: whether starts of discs are recorded, and read ahead the next time.
        keep_awake: whether hard disks of open discs are kept from spinning down.
    """

    traces: bool = True
    keep_awake: bool = False
