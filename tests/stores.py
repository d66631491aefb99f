"""An in-process object store for tests. As on S3, objects are written whole and cannot be appended to."""

import io
from typing import Any

from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from pyarrow import fs

from trainers.folder import Folder


class _Upload(io.BytesIO):
    """An upload: the object exists once the upload is closed."""

    def __init__(self, store: dict[str, MemoryFile], path: str):
        super().__init__()
        self.store, self.path = store, path

    def close(self) -> None:
        if not self.closed:
            self.store[self.path] = MemoryFile(data=self.getvalue())
        super().close()


class _Objects(MemoryFileSystem):
    """The in-memory file system of fsspec, corrected: no partial objects are visible, and readers share no position."""

    cachable = False

    def open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        if mode == "wb":
            return _Upload(self.store, str(self._strip_protocol(path)))
        assert mode == "rb", f"an object store does not open in mode {mode!r}"
        return io.BytesIO(self.cat_file(path))


def object_store(path: object) -> Folder:
    """Return a folder on the object store of this process."""
    return Folder(fs.PyFileSystem(fs.FSSpecHandler(_Objects())), str(path), f"memory://{path}")
