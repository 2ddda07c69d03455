"""What came of one kind of fault."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """How often a fault was made and survived.

    `lost` has a line for every other try: what was lost, and how to repeat it.
    """

    tries: int
    survived: int
    lost: list[str] = field(default_factory=list)
