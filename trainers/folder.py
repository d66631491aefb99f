"""Files of a run, on a disk or an object store: every file is whole or absent, and nothing is unpickled."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import platformdirs
import pyarrow
from pyarrow import fs

from model.errors import InputError


class Folder:
    """A directory that this process reads and writes; `Folder.at(folder.uri)` is the same one in another process."""

    def __init__(self, filesystem: fs.FileSystem, path: str, uri: str):
        self.filesystem, self.path, self.uri = filesystem, path.rstrip("/"), uri

    @classmethod
    def at(cls, location: str | Path) -> "Folder":
        """Open a local path or any URI that pyarrow's file systems know; the directory may not exist yet.

        Raises:
            InputError: the URI names no known file system.
        """
        if "://" not in str(location):
            path = str(Path(location).absolute())
            return cls(fs.LocalFileSystem(), path, path)
        try:
            filesystem, path = fs.FileSystem.from_uri(str(location))
            return cls(filesystem, path, path if isinstance(filesystem, fs.LocalFileSystem) else str(location))
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise InputError(
                f"Cannot open {location}: {error}. Give a path, or a URI such as s3://bucket/runs."
            ) from error

    @property
    def local(self) -> Path | None:
        """The directory on this machine's disk, or None on an object store."""
        return Path(self.path) if isinstance(self.filesystem, fs.LocalFileSystem) else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    def __truediv__(self, name: str) -> "Folder":
        place, mark, options = self.uri.partition("?")  # "s3://bucket/runs?region=..." keeps its options
        return Folder(self.filesystem, f"{self.path}/{name}", f"{place.rstrip('/')}/{name}{mark}{options}")

    def __str__(self) -> str:
        return self.uri

    def exists(self, name: str = "") -> bool:
        """Whether the folder, or the file or folder `name` in it, is there."""
        return self._info(name).type != fs.FileType.NotFound

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        return self._info(name).size

    def modified(self) -> list[int]:
        """Return when each of the folder's files was last written, in nanoseconds, in the order of `names`."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        infos = sorted(self.filesystem.get_file_info(selector), key=lambda info: info.base_name)
        return [info.mtime_ns or 0 for info in infos]

    def names(self) -> list[str]:
        """List what the folder holds, sorted; nothing if it does not exist, or is a file."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        try:
            return sorted(info.base_name for info in self.filesystem.get_file_info(selector))
        except NotADirectoryError:
            return []

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
            return file.read()

    @contextlib.contextmanager
    def writing(self, name: str, *, sync: bool = True) -> Iterator[IO[bytes]]:
        """Open a file that appears, whole, when the block ends; nothing appears if it raises.

        Args:
            sync: wait until the disk has it, so that it survives a loss of power and not only the end of the process.
        """
        if not self.local:
            # Put only when the block has ended: a stream that is dropped half-way would leave its half.
            content = io.BytesIO()
            yield content
            with self.filesystem.open_output_stream(f"{self.path}/{name}") as stream:
                stream.write(content.getbuffer())
            return
        target = self.local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with open(partial, "wb") as file:
                yield file
                if sync:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def write(self, name: str, content: bytes | str) -> None:
        """Write a whole file."""
        with self.writing(name) as file:
            file.write(content.encode() if isinstance(content, str) else content)

    def append(self, name: str, line: str) -> None:
        """Add a line to a file; where a store cannot append, the file is put again, whole."""
        if self.local:
            self.local.mkdir(parents=True, exist_ok=True)
            cut_unfinished_line(self.local / name)
            with open(self.local / name, "a") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        else:
            before = self.read(name) if self.exists(name) else b""
            self.write(name, before + line.encode() + b"\n")

    def delete(self, name: str) -> None:
        """Delete a file, or a folder with all that it holds; what is not there is deleted already."""
        kind = self._info(name).type
        if kind == fs.FileType.Directory:
            self.filesystem.delete_dir(f"{self.path}/{name}")
        elif kind == fs.FileType.File:
            self.filesystem.delete_file(f"{self.path}/{name}")

    def read_json(self, name: str) -> Any:
        """Read a JSON file."""
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file; a value that is not finite is an error, because JSON has none."""
        self.write(name, json.dumps(value, indent=2, allow_nan=False) + "\n")

    def append_json(self, name: str, value: Any) -> None:
        """Add a value to a file of JSON lines."""
        self.append(name, json.dumps(value, allow_nan=False))

    def read_lines(self, name: str) -> list[Any]:
        """Read a file of JSON lines; a last line without its newline does not exist, nor do lines of a missing file."""
        if not self.exists(name):
            return []
        return [json.loads(line) for line in self.read(name).decode().split("\n")[:-1]]

    def _info(self, name: str) -> fs.FileInfo:
        return self.filesystem.get_file_info(f"{self.path}/{name}".rstrip("/"))


def publish(directory: Path, folder: Folder) -> None:
    """Copy the files of a directory on this machine into a folder that every node reaches."""
    for path in sorted(directory.iterdir()):
        folder.write(path.name, path.read_bytes())


def local_copy(folder: Folder) -> Path:
    """Return the files of a flat folder as a directory on this machine's disk.

    A folder on an object store is copied into the user's cache once; another content is another directory there.
    """
    if folder.local:
        return folder.local
    files = [(name, folder.size(name)) for name in folder.names()]
    key = hashlib.blake2b(repr((folder.uri, files, folder.modified())).encode(), digest_size=12).hexdigest()
    target = platformdirs.user_cache_path("minbert-tune") / "fetched" / key
    if not target.exists():
        partial = target.with_name(f".{key}.{os.getpid()}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        for name, _ in files:
            (partial / name).write_bytes(folder.read(name))
        with contextlib.suppress(OSError):  # another process was quicker; its copy is the same
            partial.rename(target)
    return target


def cut_unfinished_line(path: Path) -> None:
    """Cut a half-written last line off, so that the next line appended does not continue it."""
    if not path.exists():
        return
    with open(path, "r+b") as file:
        content = file.read()
        if content and not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
