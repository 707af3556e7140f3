from typing import Any

from fsspec.spec import AbstractFileSystem

from idfkit_fs import FsspecFileSystem, simulate


class Shelf(AbstractFileSystem):
    """Files in a dictionary; put your own store's calls in its place."""

    protocol = "shelf"

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, bytes] = {}

    def ls(self, path: str, detail: bool = True, **_options: Any) -> list[Any]:
        path = self._strip_protocol(path)
        found = {}
        for key, data in list(self.files.items()):
            if key == path:
                found[key] = {"name": key, "size": len(data), "type": "file"}
            elif key.startswith(f"{path}/"):
                name = f"{path}/{key.removeprefix(f'{path}/').partition('/')[0]}"
                kind = "file" if name == key else "directory"
                found[name] = {"name": name, "size": len(data) if kind == "file" else 0, "type": kind}
        if not found:
            raise FileNotFoundError(path)
        return list(found.values()) if detail else list(found)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_options: Any) -> bytes:
        try:
            return self.files[self._strip_protocol(path)][start:end]
        except KeyError:
            raise FileNotFoundError(path) from None

    def pipe_file(self, path: str, value: bytes, **_options: Any) -> None:
        self.files[self._strip_protocol(path)] = value

    def cp_file(self, path1: str, path2: str, **_options: Any) -> None:
        self.pipe_file(path2, self.cat_file(path1))

    def rm_file(self, path: str) -> None:
        if self.files.pop(self._strip_protocol(path), None) is None:
            raise FileNotFoundError(path)


fs = FsspecFileSystem(Shelf(), "study-001")
result = simulate("office.idf", output_dir="case-42", fs=fs, design_day=True)
print(result, result.errors.simulation_complete)
