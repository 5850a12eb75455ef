"""Which module may import which. ARCHITECTURE.md draws the same picture."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zsofs"

ALLOWED: dict[str, set[str]] = {
    "__init__": set(),
    "__main__": {"cli"},
    "cli": {
        "arguments",
        "asking",
        "batch",
        "daemon",
        "dat",
        "demo",
        "errors",
        "info",
        "keeper",
        "listing",
        "log",
        "mount",
        "mount_helper",
        "mountpoint",
        "pack",
        "packing",
        "progress",
        "notify",
        "printing",
        "privileges",
        "services",
        "settings",
        "status",
        "verify",
        "verify_report",
    },
    "arguments": {
        "__init__",
        "config",
        "errors",
        "options",
        "pack_arguments",
        "service_arguments",
        "verify_arguments",
    },
    "verify_arguments": {"errors", "values"},
    "pack_arguments": {"errors", "values"},
    "values": {"options"},
    "service_arguments": set(),
    "options": set(),
    "services": {
        "catalog",
        "config",
        "errors",
        "mountpoint",
        "mounts",
        "options",
        "printing",
        "privileges",
        "status",
        "systemd_units",
        "tables",
    },
    "systemd_units": {"errors"},
    "mount_helper": {"arguments", "errors", "mountpoint", "mounts"},
    "config": {"errors", "options"},
    "daemon": set(),
    "log": set(),
    "demo": set(),
    "settings": set(),
    "mountpoint": {"control", "errors", "mounts"},
    "mounts": set(),
    "reach": {"mounts"},
    "control": set(),
    "asking": {"control", "errors", "mountpoint", "mounts", "names", "reach"},
    "status": {"asking", "errors", "mountpoint", "mounts", "printing", "tables"},
    "printing": {"errors"},
    "tables": {"names"},
    "listing": {
        "asking",
        "catalog",
        "entry",
        "errors",
        "log",
        "mountpoint",
        "mounts",
        "names",
        "opl_layout",
        "printing",
        "privileges",
        "selection",
        "shown",
        "source",
        "survey",
        "tables",
        "titles",
    },
    "mount": {
        "_blocks",
        "answers",
        "background",
        "catalog",
        "daemon",
        "errors",
        "fs",
        "fuse_kernel",
        "keeper",
        "log",
        "mountpoint",
        "notify",
        "server",
        "settings",
        "source",
        "supervision",
    },
    "fuse_kernel": {"mounts"},
    "privileges": {"control", "errors"},
    "keeper": {"daemon", "errors", "fuse_kernel", "mountpoint", "privileges", "settings"},
    "notify": set(),
    "supervision": {"background", "notify", "tables"},
    "answers": {"control", "errors", "names"},
    "server": {
        "__init__",
        "appearance",
        "background",
        "cache",
        "catalog",
        "census",
        "crews",
        "errors",
        "follow",
        "fs",
        "fs_writable",
        "invalidation",
        "library",
        "names",
        "opl_view",
        "reads",
        "selection",
        "settings",
        "source",
        "survey",
        "titles",
        "turns",
        "view",
        "workers",
    },
    "fs": {
        "appearance",
        "entry",
        "errors",
        "guard",
        "image",
        "library",
        "names",
        "node",
        "reads",
        "source",
        "turns",
        "workers",
    },
    "guard": {"errors", "turns"},
    "fs_live": {
        "changes",
        "errors",
        "fs",
        "guard",
        "handles",
        "live",
        "node",
        "paths",
        "rules",
        "selection",
    },
    "fs_writable": {
        "changes",
        "entry",
        "errors",
        "fs",
        "fs_live",
        "guard",
        "handles",
        "live",
        "names",
        "node",
        "selection",
        "source",
    },
    "handles": {"live", "node"},
    "paths": {"names"},
    "rules": {"changes", "entry", "errors", "fs", "library", "names", "node", "selection"},
    "appearance": {"entry", "library", "node", "source_folder"},
    "changes": {"errors", "live", "names", "probe", "source"},
    "live": set(),
    "node": {"entry", "names"},
    "background": set(),
    "turns": set(),
    "invalidation": {"library"},
    "view": {"census", "entry", "follow", "library", "node", "source", "source_folder"},
    "opl_view": {
        "census",
        "entry",
        "follow",
        "library",
        "names",
        "node",
        "opl_layout",
        "source",
        "source_folder",
        "workers",
    },
    "opl_layout": {"disc", "entry", "names", "opl", "titles"},
    "opl": {"names"},
    "titles": {"errors", "logiqx", "names"},
    "logiqx": set(),
    "follow": {
        "background",
        "entry",
        "errors",
        "names",
        "shown",
        "source",
        "source_folder",
        "survey",
        "watch",
        "workers",
    },
    "source_folder": {"entry", "shown", "survey"},
    "watch": {"mounts"},
    "shown": {"census", "entry", "names"},
    "census": {"entry"},
    "library": {"entry", "errors", "image", "names", "node", "probe", "source"},
    "survey": {
        "catalog",
        "entry",
        "errors",
        "inside",
        "mounts",
        "names",
        "probe",
        "selection",
        "source",
    },
    "entry": {"catalog", "disc", "probe"},
    "inside": {"catalog", "disc", "errors", "names", "probe"},
    "store": set(),
    "catalog": {"disc", "formats", "probe", "store"},
    "disc": {"iso9660"},
    "iso9660": set(),
    "selection": set(),
    "source": {"_stored", "errors", "names", "probe"},
    "reads": {"_codecs", "cache", "counters", "crews", "image"},
    "counters": set(),
    "crews": {"_blocks"},
    "workers": set(),
    "cache": set(),
    "image": {"_blocks", "formats", "probe"},
    "probe": {"_blocks", "errors", "formats"},
    "names": set(),
    "batch": {
        "digests",
        "errors",
        "names",
        "original",
        "output",
        "pack",
        "packing",
        "progress",
        "unpack",
    },
    "progress": {"bars", "digests", "tables"},
    "bars": {"errors", "printing", "tables"},
    "verify": {
        "checked",
        "checking",
        "dat",
        "disc",
        "errors",
        "names",
        "original",
        "tables",
        "verdict",
        "verify_report",
    },
    "verify_report": {"bars", "checking", "digests", "tables", "verdict"},
    "checked": {"catalog", "digests", "disc", "store", "verdict"},
    "verdict": {"dat", "digests", "disc"},
    "dat": {"digests", "errors", "iso9660", "logiqx", "names"},
    "checking": {"_index", "digests", "errors", "formats", "original", "places", "stream"},
    "places": {"errors", "iso9660"},
    "info": {"disc", "errors", "facts", "makers", "original", "printing", "readers", "tables"},
    "makers": {"errors", "facts", "formats", "original"},
    "readers": {"disc", "facts", "formats"},
    "facts": {"_index", "disc", "errors", "formats", "names", "original"},
    "unpack": {"_files", "digests", "errors", "original", "output", "pack", "stream"},
    "pack": {
        "__init__",
        "_pack",
        "digests",
        "errors",
        "formats",
        "layout",
        "original",
        "output",
        "packing",
        "seal",
        "stream",
    },
    "packing": {"errors", "formats", "layout"},
    "layout": {"formats"},
    "stream": {"digests", "original"},
    "digests": {"_pack"},
    "original": {"_blocks", "errors", "formats", "probe", "seal"},
    "output": {"_files", "errors", "names"},
    "formats": {"errors", "seal"},
    "seal": {"errors"},
    "errors": set(),
}
KERNEL = {"_blocks", "_codecs", "_files", "_index", "_pack", "_stored"}
ONLY_IN = {
    "pyfuse3": {
        "appearance",
        "fs",
        "fs_live",
        "fs_writable",
        "guard",
        "invalidation",
        "mount",
        "turns",
    },
    "trio": {
        "answers",
        "cache",
        "crews",
        "follow",
        "fs",
        "fs_writable",
        "handles",
        "invalidation",
        "mount",
        "opl_view",
        "paths",
        "reads",
        "server",
        "source_folder",
        "supervision",
        "turns",
        "workers",
    },
    "inotify_simple": {"watch"},
    "sqlite3": {"catalog", "checked", "store"},
    "tqdm": {"bars"},
    "lz4": {"demo"},
    "zstandard": {"demo"},
    "pycdlib": {"demo"},
}


def room(path: Path) -> str:
    return "formats" if path.parent.name == "formats" else path.stem


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = {f"zsofs.{alias.name}" for alias in node.names}
            found |= names if module == "zsofs" else {module}
    return found


def test_imports_go_one_way() -> None:
    rooms = {room(path) for path in PACKAGE.rglob("*.py")}
    assert rooms == set(ALLOWED)
    for path in PACKAGE.rglob("*.py"):
        here = room(path)
        own = {name.split(".")[1] for name in imports(path) if name.startswith("zsofs.")}
        own = {"__init__" if name == "__version__" else name for name in own} - {here}
        assert own <= ALLOWED[here], f"{path.name} imports {own - ALLOWED[here]}"


def test_the_allowed_imports_have_no_circle() -> None:
    done: set[str] = set()
    left = dict(ALLOWED)
    while left:
        free = {name for name, uses in left.items() if uses - KERNEL <= done}
        assert free, f"a circle among {sorted(left)}"
        done |= free
        left = {name: uses for name, uses in left.items() if name not in free}


def test_outside_packages_stay_in_their_rooms() -> None:
    for path in PACKAGE.rglob("*.py"):
        for name in imports(path):
            package = name.split(".")[0]
            if package in ONLY_IN:
                assert room(path) in ONLY_IN[package], f"{path.name} imports {package}"


def test_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for path in PACKAGE.rglob("*.py*"):
        if path.suffix in (".py", ".pyx") and not path.stem.startswith("__"):
            assert path.name in text, path.name
