"""Reads where members lie in the kernel's structures from its type information (BTF).

The format is that of ``Documentation/bpf/btf.rst``, in either byte order. A module's information is
split: its type numbers and its strings go on where those of the kernel's own end.
"""

import sys
from array import array
from collections.abc import Iterator
from typing import Self

_MAGIC = 0xEB9F
_HEADER_BYTES = 24
_WORD = 4
_STRUCT, _UNION = 4, 5
_MODIFIERS = frozenset((8, 9, 10, 11, 18))  # typedef, volatile, const, restrict, type tag
_FIXED_WORDS = {1: 1, 3: 3, 14: 1, 17: 1}  # int, array, variable, declaration tag
_WORDS_PER_ENTRY = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
_KINDS = 20
_ADDED = [(_FIXED_WORDS.get(kind, 0), _WORDS_PER_ENTRY.get(kind, 0)) for kind in range(_KINDS)]


class Btf:
    """The types of the kernel, or of a module on top of it. Of types with one name, the first."""

    def __init__(self, data: bytes, base: Self | None = None) -> None:
        """Raises ValueError for data that are no BTF. Takes about 0.1 s for a kernel of 2026."""
        orders = [order for order in ("little", "big") if _read_magic(data, order) == _MAGIC]
        if not orders or len(data) < _HEADER_BYTES:
            raise ValueError("no BTF")
        self._order = orders[0]
        sizes = self._read_words(data[_WORD:_HEADER_BYTES])
        header_bytes, type_offset, type_bytes, string_offset, string_bytes = sizes
        start = header_bytes + string_offset
        self._strings = data[start : start + string_bytes]
        start = header_bytes + type_offset
        self.words = self._read_words(data[start : start + type_bytes])
        self.base = base
        self._first_string = base.next_string if base else 0
        self.first_type = base.next_type if base else 1  # 0 is void
        self.types = array("I")
        self._structures: dict[int, int] = {}
        try:
            self._scan()
        except IndexError:
            raise ValueError("BTF of an unknown kind, or cut off") from None
        if len(data) < header_bytes + max(string_offset + string_bytes, type_offset + type_bytes):
            raise ValueError("BTF is cut off")

    @property
    def next_string(self) -> int:
        """Where the strings of a module begin."""
        return self._first_string + len(self._strings)

    @property
    def next_type(self) -> int:
        """The number of a module's first type."""
        return self.first_type + len(self.types)

    def has(self, structure: str) -> bool:
        """Is the structure (or union) there, and not only announced?"""
        return self.find(structure) is not None

    def size_of(self, structure: str) -> int:
        """Bytes of a structure. Raises LookupError with a reason when it is not there."""
        owner, place = self._need(structure)
        return owner.words[place + 2]

    def offset_of(self, structure: str, path: str) -> int:
        """Bytes from a structure's begin to a member, like ``mount.mnt`` of a member ``mount``.

        Members of anonymous structures and unions count as members of what is around them.
        Raises LookupError with a reason when there is no such structure, or member, or when it is a
        bit field, which has no address.
        """
        owner, place = self._need(structure)
        bits = 0
        names = path.split(".")
        for number, name in enumerate(names):
            found = self._find_member(owner, place, name)
            if found is None:
                raise LookupError(f"struct {structure} has no member {path}")
            offset, size, type_number = found
            bits += offset
            if size:
                raise LookupError(f"{path} of struct {structure} is a bit field")
            if number < len(names) - 1:
                inner = self._resolve(type_number)
                if inner is None:
                    raise LookupError(f"{name} of struct {structure} has no members")
                owner, place = inner
        return bits // 8

    def _scan(self) -> None:
        """Note where each type begins, and the structures by their names."""
        words, types, structures = self.words, self.types, self._structures
        place, end = 0, len(words)
        while place < end:
            information = words[place + 1]
            kind = information >> 24 & 31
            if kind in (_STRUCT, _UNION):
                structures.setdefault(words[place], place)
            types.append(place)
            fixed, per_entry = _ADDED[kind]
            place += 3 + fixed + per_entry * (information & 0xFFFF)
        if place != end:
            raise IndexError

    def _read_words(self, data: bytes) -> "array[int]":
        words = array("I", data[: len(data) // _WORD * _WORD])
        if self._order != sys.byteorder:
            words.byteswap()
        return words

    def _need(self, structure: str) -> tuple["Btf", int]:
        found = self.find(structure)
        if found is None:
            raise LookupError(f"the kernel's BTF has no struct {structure}")
        return found

    def find(self, structure: str) -> tuple["Btf", int] | None:
        """Whose type it is, and where it begins: the module's own before the kernel's."""
        for number in self.find_strings(structure):
            place = self._structures.get(number)
            if place is not None:
                return self, place
        return self.base.find(structure) if self.base else None

    def find_strings(self, text: str) -> Iterator[int]:
        """The offsets of a string: with a module's, it may be among the kernel's."""
        place = self._strings.find(b"\0%b\0" % text.encode())
        if place >= 0:
            yield self._first_string + place + 1
        elif self._strings.startswith(b"%b\0" % text.encode()):
            yield self._first_string  # a module's strings need not begin with an empty one
        if self.base:
            yield from self.base.find_strings(text)

    def _find_member(self, owner: "Btf", place: int, name: str) -> tuple[int, int, int] | None:
        """Offset and size in bits (0 for all but bit fields), and number of the type."""
        wanted = set(self.find_strings(name))
        information = owner.words[place + 1]
        for entry in range(information & 0xFFFF):
            at = place + 3 + 3 * entry
            string, type_number, offset = owner.words[at : at + 3]
            size = 0
            if information >> 31:
                size, offset = offset >> 24, offset & 0xFFFFFF
            if string in wanted:
                return offset, size, type_number
            inner = self._resolve(type_number) if string == 0 else None
            found = self._find_member(*inner, name) if inner else None
            if found:
                return offset + found[0], found[1], found[2]
        return None

    def _resolve(self, number: int) -> tuple["Btf", int] | None:
        """The structure that a type is, behind its other names; None for anything else."""
        owner: Btf = self
        while number >= 1:
            while owner.base and number < owner.first_type:
                owner = owner.base
            place = owner.types[number - owner.first_type]
            kind = owner.words[place + 1] >> 24 & 31
            if kind in (_STRUCT, _UNION):
                return owner, place
            if kind not in _MODIFIERS:
                return None
            number = owner.words[place + 2]
            owner = self
        return None


def _read_magic(data: bytes, order: str) -> int:
    return int.from_bytes(data[:2], "little" if order == "little" else "big")
