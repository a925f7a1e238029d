"""A clock that tests set."""

_BEGIN = 1_900_000_000.0
_READING_SECONDS = 0.0001


class Clock:
    """The product's clock: it stands still but for `ahead`, and goes on a little with every reading."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def seconds(self) -> float:
        """Now, in Unix seconds."""
        self.ahead += _READING_SECONDS
        return _BEGIN + self.ahead

    def ns(self) -> int:
        """Now, in nanoseconds."""
        return int(self.seconds() * 10**9)

    def ms(self) -> int:
        """Now, as the product sees it."""
        return self.ns() // 1_000_000
