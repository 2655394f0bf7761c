"""What was found in a network: what was rewritten, left out or refused, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from torch import fx

__all__ = ["Finding", "FindingKind", "Refusal"]


class FindingKind(StrEnum):
    """What becomes of an operation."""

    REWRITTEN = "rewritten"
    DROPPED = "dropped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One operation of a network that is not taken as it stands.

    Parameters
    ----------
    kind : FindingKind
    place : str
        Path of the module in whose forward it stands; empty for the network's own.
    source : str
        ``file:line`` of the user's code; empty where it is not known.
    what : str
        The operation, and what was wrong with it or became of it.
    remedy : str
        What to write instead; empty where nothing need be done.
    """

    kind: FindingKind
    place: str
    source: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line for a person."""
        where = " ".join(filter(None, (self.place, self.source and f"({self.source})")))
        line = f"{where}: {self.what}" if where else self.what
        return f"{line}; {self.remedy}" if self.remedy else line


class Refusal(Exception):  # noqa: N818 - what becomes of an operation, not an error
    """An operation that has no integer form.

    Parameters
    ----------
    what : str
        The operation and the reason.
    remedy : str
        What to write instead.
    node : torch.fx.Node, optional
        The captured call that it is said of; the one that is being read otherwise.
    """

    def __init__(self, what: str, remedy: str = "", node: fx.Node | None = None) -> None:
        super().__init__(what)
        self.what, self.remedy, self.node = what, remedy, node
