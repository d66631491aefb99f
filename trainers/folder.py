"""Read and write the files of a run, on a disk or an object store. A file is either complete or absent.

On a disk, nothing is read, written or deleted through a symbolic link inside the folder. The folder itself, or a folder
above it, may be a link.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import platformdirs
import pyarrow
from pyarrow import fs

from model.errors import InputError, first_line
from model.files.regular_files import check_kind
from model.whole_files import cut_unfinished_line, partial_name, whole_directory, whole_file
from trainers.urls import is_url, shown, without_secrets


class Folder:
    """A directory on a disk or an object store; `Folder.at(folder.uri)` opens the same one in another process.

    As text, a folder shows its URI without secrets.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str, uri: str, root: str | None = None):
        """Describe a folder; `root` is the folder that was opened, below which no link is followed."""
        self.filesystem, self.path, self.uri = filesystem, path.rstrip("/"), uri
        self.root = self.path if root is None else root

    @classmethod
    def at(cls, location: str | Path) -> "Folder":
        """Open a local path or a URI that pyarrow's file systems support; the directory need not exist.

        Raises:
            InputError: no file system supports the URI, or the path is not valid UTF-8.
        """
        text = str(location)
        if not is_url(text):
            return cls._on_disk(str(Path(location).absolute()))
        if "#" in text or (text.startswith("file:") and "?" in text):  # pyarrow drops these, and opens another folder
            raise InputError(f"Cannot open {shown(text)}: write # as %23 and ? as %3F, or pass a path without file://.")
        try:
            filesystem, path = fs.FileSystem.from_uri(text)
        except (pyarrow.ArrowInvalid, OSError, UnicodeError) as error:
            fault = without_secrets(first_line(error), text)
            raise InputError(
                f"Cannot open {shown(text)}: {fault}. Pass a path, or a URI such as s3://bucket/runs."
            ) from None
        return cls._on_disk(path) if isinstance(filesystem, fs.LocalFileSystem) else cls(filesystem, path, text)

    @classmethod
    def _on_disk(cls, path: str) -> "Folder":
        """Open a local directory; its URI is its path, whatever is in it."""
        try:
            path.encode()
        except UnicodeEncodeError:
            raise InputError(f"The path {path!r} is not valid UTF-8. Rename the folder, or pass another.") from None
        return cls(fs.LocalFileSystem(), path, path)

    @property
    def local(self) -> Path | None:
        """The path on this machine's disk; None on an object store."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    def __truediv__(self, name: str) -> "Folder":
        path = f"{self.path}/{name}"
        if self.local:
            return Folder(self.filesystem, path, path, self.root)
        place, mark, options = self.uri.partition("?")  # "s3://bucket/runs?region=..." keeps its options
        return Folder(self.filesystem, path, f"{place.rstrip('/')}/{quote(name)}{mark}{options}", self.root)

    def __str__(self) -> str:
        return shown(self.uri)

    def exists(self, name: str = "") -> bool:
        """Return whether the folder, or the file or folder `name` in it, exists.

        Raises:
            InputError: as in all methods, it is a symbolic link or no regular file.
        """
        return self._info(name).type != fs.FileType.NotFound

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes; None if there is no such file."""
        return self._info(name).size

    def modified(self) -> list[int]:
        """Return the modification time of each file in nanoseconds, in the order of `names`."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        infos = sorted(self.filesystem.get_file_info(selector), key=lambda info: info.base_name)
        return [info.mtime_ns or 0 for info in infos]

    def names(self) -> list[str]:
        """List the names of files and folders in the folder, sorted; empty if there is no such folder.

        Raises:
            InputError: it is a file.
        """
        selector = fs.FileSelector(self._place(), allow_not_found=True)
        try:
            return sorted(info.base_name for info in self.filesystem.get_file_info(selector))
        except NotADirectoryError:
            raise InputError(f"{self} is a file, not a folder. Move it away, or pass another path.") from None

    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: the file does not exist.
            InputError: it is a folder.
        """
        if self._info(name).type == fs.FileType.Directory:
            raise InputError(f"{self}/{name} is a folder, not a file. Move it away.")
        with self.filesystem.open_input_file(self._place(name)) as file:
            return file.read()

    @contextlib.contextmanager
    def writing(self, name: str, *, sync: bool = True) -> Iterator[IO[bytes]]:
        """Open a file that appears, complete, when the block ends; if the block raises, nothing changes.

        Args:
            name: the file; a file that exists is replaced.
            sync: whether to wait until the disk has stored the content, so that it survives a loss of power.
        """
        if not self.local:
            # Upload only after the block: an interrupted stream would leave half of the file.
            content = io.BytesIO()
            yield content
            with self.filesystem.open_output_stream(self._place(name)) as stream:
                stream.write(content.getbuffer())
            return
        target = Path(self._place(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, sync=sync) as file:
            yield file

    def write(self, name: str, content: bytes | str) -> None:
        """Write a file; it appears when it is complete."""
        with self.writing(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def append(self, name: str, line: str) -> None:
        """Append a line to a file; on an object store, write the whole file again."""
        if self.local:
            with self.in_place(name) as file:
                cut_unfinished_line(file)
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        else:
            before = self.read(name) if self.exists(name) else b""
            self.write(name, before + line.encode() + b"\n")

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator["Folder"]:
        """Yield a new folder that replaces the folder `name` when the block ends; if the block raises, nothing changes.

        On a disk the new folder and the old one are exchanged by two renames; on an object store the files are moved
        one by one, so a kill in this moment may leave a part of them.
        """
        new, old = self / partial_name(name), partial_name(name)
        try:
            yield new
            if self.local:
                self._exchange(new.name, name, old)
            else:
                self.delete(name)
                for path in new._files():
                    place = f"{self._place(name)}/{path}"
                    self.filesystem.move(new._place(path), place)
        finally:
            self.delete(new.name)
            self.delete(old)

    def _exchange(self, new: str, name: str, old: str) -> None:
        """Rename the folder `name`, if it exists, to `old`, and `new` to `name`; on an error keep `name`."""
        source, target, spare = (Path(self._place(part)) for part in (new, name, old))
        try:
            if target.exists():
                target.rename(spare)
            source.rename(target)
        except BaseException:
            if spare.exists() and not target.exists():
                spare.rename(target)
            raise

    def _files(self) -> list[str]:
        """List the files in the folder at any depth, as names relative to it."""
        infos = self.filesystem.get_file_info(fs.FileSelector(self._place(), recursive=True))
        files = [info.path for info in infos if info.type == fs.FileType.File]
        return sorted(path.removeprefix(f"{self.path}/") for path in files)

    @contextlib.contextmanager
    def in_place(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file on a disk to change it where it is; a missing file is created, with its folders.

        Raises:
            InputError: it is a folder, or it has a second name (a hard link), so that a change would reach both.
        """
        place = Path(self._place(name))
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            raise InputError(f"{place} is a folder, not a file. Move it away.")
        with open(os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666), "r+b") as file:
            if os.fstat(file.fileno()).st_nlink > 1:
                raise InputError(f"{place} has a second name elsewhere (a hard link). Replace it by a copy.")
            yield file

    def set_aside(self, name: str) -> str:
        """Rename a damaged file, so that it can be written anew; return its new name."""
        names = self.names()
        free = next(new for number in count(1) if (new := f"{name}.damaged-{number}") not in names)
        self.filesystem.move(self._place(name), self._place(free))
        return free

    def delete(self, name: str) -> None:
        """Delete a file or a folder with its content, if it exists. Links inside it are deleted, not followed."""
        kind = self._info(name).type
        if kind == fs.FileType.Directory:
            shutil.rmtree(self._place(name)) if self.local else self.filesystem.delete_dir(self._place(name))
        elif kind == fs.FileType.File:
            self.filesystem.delete_file(self._place(name))

    def check_links(self) -> None:
        """Check that nothing in the folder, at any depth, is a symbolic link or a special file.

        Raises:
            InputError: something is; names the first one.
        """
        for parent, folders, files in os.walk(self.local) if self.local else ():
            for name in sorted([*folders, *files]):
                check_kind(f"{parent}/{name}")

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file; a number that is not finite is a ValueError, because JSON has no such numbers."""
        self.write(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def append_json(self, name: str, value: Any) -> None:
        """Append a value to a file of JSON lines."""
        self.append(name, json.dumps(value, allow_nan=False))

    def _info(self, name: str) -> fs.FileInfo:
        return self.filesystem.get_file_info(self._place(name))

    def _place(self, name: str = "") -> str:
        """Return the path of a file or folder of this folder, for one access.

        Raises:
            InputError: a part of the path below the root is a link or a special file, or leads elsewhere.
        """
        place = f"{self.path}/{name}".rstrip("/")
        parts = place.removeprefix(self.root).strip("/").split("/")
        if ".." in parts or "\0" in place:
            raise InputError(f"{name!r} is no name of a file in {self}. Rename it.")
        if self.local:
            for length in range(1, len(parts) + 1) if parts != [""] else ():
                check_kind("/".join([self.root, *parts[:length]]))
        return place


def publish(directory: Path, folder: Folder) -> None:
    """Copy the files of a local directory into a folder that every node can read."""
    for path in sorted(directory.iterdir()):
        folder.write(path.name, path.read_bytes())


def local_copy(folder: Folder) -> Path:
    """Return a local directory with the files of a folder that has no subfolders.

    A folder on an object store is copied into the user's cache once; changed content is copied into a new directory.
    """
    if folder.local:
        return folder.local
    files = [(name, folder.size(name)) for name in folder.names()]
    key = hashlib.blake2b(repr((folder.uri, files, folder.modified())).encode(), digest_size=12).hexdigest()
    target = platformdirs.user_cache_path("minbert-tune") / "fetched" / key
    if not target.exists():
        with whole_directory(target) as partial:
            for name, _ in files:
                (partial / name).write_bytes(folder.read(name))
    return target
