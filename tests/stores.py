"""An object store for tests: objects are put whole and nothing is appended, as on s3, but in this process."""

import io
from typing import Any

from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from pyarrow import fs

from trainers.folder import Folder


class _Put(io.BytesIO):
    """An object that is there once it is whole."""

    def __init__(self, store: dict[str, MemoryFile], path: str):
        super().__init__()
        self.store, self.path = store, path

    def close(self) -> None:
        if not self.closed:
            self.store[self.path] = MemoryFile(data=self.getvalue())
        super().close()


class _Objects(MemoryFileSystem):
    """fsspec's file system shows objects that are still being written, and its readers share one position."""

    cachable = False

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        if mode == "wb":
            return _Put(self.store, str(self._strip_protocol(path)))
        assert mode == "rb", f"an object store does not open in mode {mode!r}"
        return io.BytesIO(self.cat_file(path))


def object_store(path: object) -> Folder:
    """Return a folder on the store, which holds what this process has put there."""
    return Folder(fs.PyFileSystem(fs.FSSpecHandler(_Objects())), str(path), f"memory://{path}")
