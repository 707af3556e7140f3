"""Read Thrift's compact protocol, in which Parquet writes its footer and the header of each page. No I/O.

pyarrow believes what these claim, and takes memory for it, before it looks at the data. So what another user wrote is
checked here first.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Reader"]

_DEPTH = 16


class Reader:
    """Reads structures, one after the other.

    Args:
        data: The bytes.
        position: Where to begin.

    Attributes:
        position: Where the next structure begins.
        structures: How many were read, with those within others.

    Examples:
        >>> Reader(bytes([0x15, 200, 1, 0x15, 2, 0])).structure()
        {1: 100, 2: 1}
    """

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data, self.position, self.structures = data, position, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """The numbers and structures in the next structure, by the identifiers of their fields; others are passed over.

        Raises:
            ValueError: If the bytes are not a structure.
        """
        if depth > _DEPTH:
            raise ValueError("its Thrift structures are nested too deeply")
        self.structures += 1
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._number()
            found[field] = self._value(head & 15, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):  # in a field, the type is the value
            return kind == 1
        if kind in (4, 5, 6):
            return self._number()
        if kind == 12:
            return self.structure(depth + 1)
        if kind == 3:
            return self._byte()
        if kind in (7, 8):
            length = 8 if kind == 7 else self._varint()
            self.position += length
        elif kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            for _ in range(size):  # each takes a byte at least
                self._byte() if head & 15 in (1, 2) else self._value(head & 15, depth)
        else:
            raise ValueError(f"its Thrift structures have a field of the unknown type {kind}")
        return None

    def _byte(self) -> int:
        if self.position >= len(self.data):
            raise ValueError("its Thrift structures are cut off")
        self.position += 1
        return self.data[self.position - 1]

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 64, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("its Thrift structures have a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
