"""One path of EVE and its generations: what was renamed, what was copied, what is written now.

    rename + create   the old file is held open, read to its end, and looked at for a while longer,
                      since its writer may not have heard of the new one yet
    copytruncate      the file is emptied in place; its copy beside it has what was not read yet
    while we were     the file that was left is found by inode and content among its siblings; those
    not there         written after it were never seen, and come next

The oldest comes first, always. What cannot be found again (compressed, moved to another directory)
is named and counted as a gap.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from .follow import Generation, Mark, open_file
from .position import Position, Print
from .source import SourceError

# After a file was replaced its writer has so long to finish with it.
LINGER_SECONDS: Final = 10.0

# Of files that are read to their end so many are held open at most.
MAX_LINGERING: Final = 16

# A deleted file takes room on its disk for as long as we hold it.
MAX_DELETED: Final = 8

# A directory of ten thousand files is nobody's log directory.
_MAX_SIBLINGS: Final = 256

# A rotation takes a moment; whoever renames without end is not waited for.
_MAX_LOOKS: Final = 8

_COMPRESSED: Final = (".gz", ".xz", ".bz2", ".zst", ".lz4", ".Z", ".zip")


class _Sibling(NamedTuple):
    mtime_ns: int
    # `.2` is older than `.1`, a later date is younger.
    order: tuple[int, str]


class Rotating:
    """Follows `path`; `saved` are its positions of the last run.

    `from_end`: without saved positions, what is there already is left out. `notice` takes a
    sentence whenever something is lost.
    """

    def __init__(
        self,
        path: Path,
        *,
        saved: Iterable[Position] = (),
        from_end: bool = False,
        notice: Callable[[str], None],
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self.path = path
        self._notice = notice
        self._linger = linger_seconds
        self._from_end = from_end
        self._saved: list[Position] | None = list(saved)
        # Open ones, the oldest first; then those of which only marks are left.
        self._open: list[Generation] = []
        self._closed: list[Generation] = []
        self._heads: deque[Print] = deque(maxlen=64)
        self.gaps = 0
        self.rotations = 0
        self.emptied = 0
        self._too_long = 0
        suffix = re.escape(path.suffix)
        stem = re.escape(path.name.removesuffix(path.suffix))
        self._rotated = re.compile(
            rf"(?:{re.escape(path.name)}[.\-_](\d\S*|old|prev)|{stem}[.\-_](\d[\d.\-_T]*){suffix})",
            re.ASCII,
        )

    # What a source does.

    def read(self, max_bytes: int, now: float) -> tuple[bytes, Mark] | None:
        """The next lines of the oldest file that has any. Raises SourceError, OSError."""
        self._look(now)
        at = looks = 0
        while at < len(self._open) and looks < _MAX_LOOKS:
            generation = self._open[at]
            if generation.was_touched() and self._refilled_unseen(generation, now):
                # What comes before it is at its place now.
                looks += 1
                continue
            lines = generation.read(max_bytes)
            if lines:
                return lines, generation.mark()
            if lines is not None:
                at += 1
                continue
            looks += 1
            if generation.was_emptied():
                self._refill(generation, now)
        return self._retire(now) if at == len(self._open) else None

    def look(self, now: float) -> None:
        """Open what took the path's place, without reading. Raises SourceError, OSError."""
        self._look(now)
        if self._open:
            self._see_emptied(self._open[-1], now)

    def settle(self, mark: Mark) -> None:
        """All up to `mark` is committed."""
        mark.generation.committed = mark
        self._closed = [one for one in self._closed if not one.is_settled]

    def positions(self) -> list[Position]:
        """The committed places, the oldest file first."""
        if self._saved is not None:
            return self._saved
        return [one.position() for one in (*self._closed, *self._open)]

    def backlog(self) -> int:
        """Bytes that were not given yet, in files that are known."""
        total = 0
        for generation in self._open:
            try:
                total += max(0, generation.size() - generation.offset)
            except OSError:
                continue
        return total

    @property
    def too_long(self) -> int:
        """Lines left out for their length."""
        return self._too_long + sum(one.too_long for one in self._open)

    def close(self) -> None:
        """Let go of all files."""
        for generation in self._open:
            generation.close()
        self._open.clear()

    def inodes(self) -> set[int]:
        """The files that are open."""
        return {one.inode for one in self._open}

    # Which file is there now.

    def _look(self, now: float) -> None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            # Absent as yet, or between a rename and its create.
            self._from_end = False
            if self._saved:
                self._resume(self._saved, None)
            return
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read ({error.strerror})") from error
        current = self._open[-1] if self._open else None
        if current is not None and current.is_file(status):
            return
        fd = open_file(self.path)
        if fd is None:
            return
        if self._saved is not None:
            self._resume(self._saved, fd)
            return
        if current is None:
            self._open.append(Generation(fd))
            return
        self.rotations += 1
        for look in range(1, _MAX_LOOKS + 1):
            # The last one: an earlier look may have found that it was emptied, and begun it anew.
            if self._replace(self._open[-1], fd, now, as_it_is=look == _MAX_LOOKS):
                return
            # Rotated again already: of the files found some came before `fd`, some after.
            fd = open_file(self.path)
            if fd is None:
                return

    def _replace(self, current: Generation, fd: int, now: float, *, as_it_is: bool) -> bool:
        """Read `fd` after `current` and what came between; False if that is the past already."""
        # What happened to it before it was replaced comes before what is in it.
        current = self._see_emptied(current, now)
        position = current.read_position()
        fresh = Generation(fd)
        if fresh.inode in self.inodes():
            # An older one was put back.
            older = next(one for one in self._open if one.inode == fresh.inode)
            fresh.close()
            self._open.remove(older)
            self._open.append(older)
            older.superseded_at, current.superseded_at = None, now
            return True
        if position.head.length and (going_on := _goes_on(position, fd)) is not None:
            # A copy of the same took its place.
            fresh.close()
            fresh = going_on
        current.superseded_at = now
        between, _ = self._successors(
            position, current.mtime_ns, current, also_known=frozenset([fresh.inode])
        )
        if not self._is_there(fresh) and not as_it_is:
            for one in (*between, fresh):
                one.close()
            return False
        for one in between:
            one.superseded_at = now
        self._open += [*between, fresh]
        self._bound()
        return True

    def _see_emptied(self, current: Generation, now: float) -> Generation:
        """Find what the path's file held before it was emptied in place; the file as it is now."""
        if current.was_emptied():
            self._refill(current, now)
        elif current.was_touched():
            self._refilled_unseen(current, now)
        return self._open[-1]

    def _bound(self) -> None:
        """Let go of the oldest of the files that were deleted before they were read."""
        deleted = [
            one
            for one in self._open[:-1]
            if one.size() > one.offset and os.fstat(one.fd).st_nlink == 0
        ]
        for one in deleted[:-MAX_DELETED]:
            self._gap(f"an older {self.path} was deleted, as were {MAX_DELETED} after it")
            self._open.remove(one)
            self._let_go(one)

    def _refill(self, generation: Generation, now: float) -> None:
        """The file was emptied in place: its copy's rest comes first, then the file from its start.

        The generation that was is closed, and the same file is a new one.
        """
        self.emptied += 1
        modified = generation.modified()
        older, found = self._copies(generation, modified)
        if not found:
            self._gap(f"{self.path} was emptied in place, and no copy of it is beside it")
        self._begin_anew(generation, older, modified, now)

    def _refilled_unseen(self, generation: Generation, now: float) -> bool:
        """Whether the file was emptied since it was seen to have no whole line: copies tell.

        It may begin with the bytes that were read of a line, and be another file all the same.
        """
        modified = generation.modified()
        older, _ = self._copies(generation, modified)
        if older:
            self._begin_anew(generation, older, modified, now)
        else:
            generation.mtime_ns = modified
        return bool(older)

    def _copies(self, generation: Generation, until_ns: int) -> tuple[list[Generation], bool]:
        """See `_successors`, of a file that was emptied in place."""
        since = generation.mtime_ns
        if generation.partial_bytes:
            # A copy may have its file's time, and nothing else is as young as a line just begun.
            since -= 1
        return self._successors(generation.read_position(), since, None, until_ns=until_ns)

    def _begin_anew(
        self, generation: Generation, older: list[Generation], modified: int, now: float
    ) -> None:
        for one in older:
            one.superseded_at = now
        fresh = Generation(os.dup(generation.fd))
        fresh.superseded_at = generation.superseded_at
        # When the copies were looked for: what came after that is looked at again.
        fresh.mtime_ns = modified
        at = self._open.index(generation)
        self._open[at : at + 1] = [*older, fresh]
        self._let_go(generation)

    def _resume(self, saved: list[Position], fd: int | None) -> None:
        """Go on where the last run was left; `fd` is the path's file, if there is one."""
        for look in range(1, _MAX_LOOKS + 1):
            gaps = self._resume_once(saved, fd)
            if fd is None or self._is_there(self._open[-1]) or look == _MAX_LOOKS:
                break
            # Rotated again already: of these files some came before it, some after.
            self.close()
            fd = open_file(self.path)
        self._saved = None
        for gap in gaps:
            self._gap(gap)

    def _resume_once(self, saved: list[Position], fd: int | None) -> list[str]:
        """Open what is to be read; what cannot be found, in a sentence each."""
        gaps: list[str] = []
        # As it is before anything is looked for: what happens to it then is seen as a change.
        current = None if fd is None else Generation(fd, at_end=self._from_end and not saved)
        for number, position in enumerate(saved, 1):
            last = number == len(saved)
            # A file that goes on from an earlier place has all that comes later in it.
            if any(position.describes(one.fd) for one in self._open):
                continue
            if current is not None and (going_on := _goes_on(position, current.fd)) is not None:
                current.close()
                self._open.append(going_on)
                return gaps
            older, found = self._successors(
                position,
                position.mtime_ns,
                None,
                all_after=last,
                also_known=frozenset() if current is None else frozenset([current.inode]),
            )
            self._open += older
            if not found and position.offset:
                gaps.append(
                    f"{self.path} is another file than the one that was read up to byte"
                    f" {position.offset}, and that one is not beside it{self._compressed()}"
                )
        for one in self._open:
            one.superseded_at = 0.0
        if current is not None:
            self._open.append(current)
        return gaps

    def _is_there(self, generation: Generation) -> bool:
        """Whether the file is still the one of the path. Raises OSError."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return False
        return generation.is_file(status)

    # Siblings.

    def _successors(
        self,
        position: Position,
        mtime_ns: int,
        held: Generation | None,
        *,
        all_after: bool = True,
        until_ns: int = 1 << 62,
        also_known: frozenset[int] = frozenset(),
    ) -> tuple[list[Generation], bool]:
        """The file left at `position`, if it is not `held`, and those written after it, in order.

        Of these only what was last written up to `until_ns`, and no inode of `also_known`.

        The second value: whether the file was found.
        """
        known = self.inodes() | also_known
        candidates: list[tuple[_Sibling, Generation]] = []
        same: list[tuple[_Sibling, Generation]] = []
        for sibling, generation in self._siblings():
            if generation.inode in known:
                generation.close()
            elif position.describes(generation.fd):
                same.append((sibling, generation))
            else:
                candidates.append((sibling, generation))
        found: list[Generation] = []
        after = mtime_ns if held is not None else mtime_ns + 1
        is_found = held is not None or bool(same)
        if same:
            # The file itself rather than a copy; of copies, the one that has most.
            same.sort(key=lambda pair: (pair[1].inode == position.inode, pair[1].size()))
            sibling, chosen = same.pop()
            after = sibling.mtime_ns
            if held is None and (going_on := _goes_on(position, chosen.fd)) is not None:
                found.append(going_on)
            chosen.close()
        for _, copy in same:
            copy.close()
        for sibling, generation in candidates:
            is_later = all_after and after <= sibling.mtime_ns <= until_ns
            if is_later and not self._was_read(generation):
                found.append(generation)
            else:
                generation.close()
        # Of what has no whole line, any of that time is taken for the copy.
        return found, is_found or (position.head.length == 0 and bool(found))

    def _was_read(self, generation: Generation) -> bool:
        size = generation.size()
        return any(
            size >= head.length and Print.of(os.pread(generation.fd, head.length, 0)) == head
            for head in self._heads
        )

    def _siblings(self) -> list[tuple[_Sibling, Generation]]:
        """What rotation made of the path and did not compress, open, the oldest first.

        Rotation hands names on from file to file, so that a name may be another file's by the time
        it is opened, and a file may be at none of the names: two looks must have seen the same.
        """
        found: dict[int, tuple[_Sibling, Generation]] = {}
        before: dict[str, int] | None = None
        for _ in range(_MAX_LOOKS):
            seen: dict[str, int] = {}
            for name, order in self._rotated_names():
                try:
                    fd = open_file(self.path.with_name(name))
                except SourceError:
                    continue
                if fd is None:
                    continue
                generation = Generation(fd)
                seen[name] = generation.inode
                if generation.inode in found:
                    generation.close()
                    generation = found[generation.inode][1]
                found[generation.inode] = (_Sibling(generation.modified(), order), generation)
            if seen == before:
                break
            before = seen
        ordered = sorted(found.values(), key=lambda pair: pair[0])
        for _, generation in ordered[:-_MAX_SIBLINGS]:
            generation.close()
        return ordered[-_MAX_SIBLINGS:]

    def _rotated_names(self) -> list[tuple[str, tuple[int, str]]]:
        names = []
        for entry in self._entries():
            match = self._rotated.fullmatch(entry.name)
            if match is None or entry.name.endswith(_COMPRESSED):
                continue
            mark = match[1] or match[2] or ""
            number = -int(mark) if mark.isdigit() and len(mark) < 6 else 0
            names.append((entry.name, (number, mark)))
        return names

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.path.parent) as entries:
                return [one for one in entries if one.name != self.path.name]
        except OSError:
            return []

    def _compressed(self) -> str:
        names = sorted(
            one.name
            for one in self._entries()
            if one.name.endswith(_COMPRESSED) and self._rotated.fullmatch(one.name)
        )
        return f" (compressed: {', '.join(names[-3:])})" if names else ""

    def _gap(self, what: str) -> None:
        self.gaps += 1
        self._notice(f"{what}: events written to it and not read are lost")

    # Those that nobody writes any more.

    def _retire(self, now: float) -> tuple[bytes, Mark] | None:
        """Let go of what was replaced long ago; a last line without newline comes out."""
        surplus = len(self._open) - 1 - MAX_LINGERING
        for generation in self._open[:-1]:
            since = generation.superseded_at
            if since is None or (now - since < self._linger and surplus <= 0):
                continue
            surplus -= 1
            lines = generation.rest()
            mark = generation.mark()
            self._open.remove(generation)
            self._let_go(generation)
            if not generation.is_settled:
                return lines, mark
        return None

    def _let_go(self, generation: Generation) -> None:
        head = generation.read_position().head
        if head.length:
            self._heads.append(head)
        self._too_long += generation.too_long
        generation.close()
        if not generation.is_settled:
            self._closed.append(generation)


def _goes_on(position: Position, fd: int) -> Generation | None:
    """The open file from `position` on, if it is the one that was left, with all that was read.

    It has a descriptor of its own.
    """
    if not position.describes(fd) or os.fstat(fd).st_size < position.offset:
        return None
    there = Generation(os.dup(fd), offset=position.offset, skipping=position.skipping)
    if not there.is_at(position):
        # It was emptied in between.
        there.close()
        return None
    if position.head.length == 0:
        # If it was written since, it may have been emptied since.
        there.mtime_ns = position.mtime_ns
    return there
