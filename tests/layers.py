#!/usr/bin/env python3
"""tests/layers.py [ROOT]: do the includes keep to the layer table?

The table is the rf_add_layer lines of ROOT/CMakeLists.txt, and nothing else. A file of layer X may include
"refract/Y/..." where Y is X or stands below it; any other file it includes in quotes must lie beside it
in src/X/ (or be made by the build). Prints one line per fault; exit code 1 if there is any.
"""
import pathlib
import re
import sys

GENERATED = {"rf_version.h"}
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<(refract/[^>]+)>)', re.M)
COMMAND = re.compile(r"^[ \t]*rf_add_layer\(([^)]*)\)", re.M)


def read_table(text):
    """Layer -> set of all layers below it, from the text of CMakeLists.txt; and what is wrong in it."""
    below, faults = {}, []
    for command in COMMAND.findall(re.sub(r"#.*", "", text)):
        name, *words = command.split()
        section, under = None, set()
        for word in words:
            if word in ("LAYERS", "LINK"):
                section = word
            elif section == "LAYERS" and word not in below:
                faults.append(f"CMakeLists.txt: layer {name} stands on {word}, which is not above it in the table")
            elif section == "LAYERS":
                under |= {word} | below[word]
        if name in below:
            faults.append(f"CMakeLists.txt: layer {name} stands twice in the table")
        below[name] = under
    if not below:
        faults.append("CMakeLists.txt: no rf_add_layer line")
    return below, faults


def layer_of(path):
    """The layer that a path below src/ or include/refract/ belongs to; src/main.c is nobody's."""
    return path.parts[0] if len(path.parts) > 1 else None


def check_file(root, path, layer, below):
    """Yields the faults of one source or header; layer None (the program) may use every public header."""
    allowed = below.keys() if layer is None else below[layer] | {layer}
    text = path.read_text(encoding="utf-8")
    for found in INCLUDE.finditer(text):
        wanted = found[1] or found[2]
        where = f"{path.relative_to(root)}:{text.count(chr(10), 0, found.start(0)) + 1}"
        parts = wanted.split("/")
        if parts[0] == "refract":
            if len(parts) < 3 or parts[1] not in below:
                yield f"{where}: {wanted} belongs to no layer of the table"
            elif parts[1] not in allowed:
                yield f"{where}: layer {layer} includes {wanted}, but {parts[1]} does not stand below it"
            elif not (root / "include" / wanted).is_file():
                yield f"{where}: {wanted} does not exist"
        elif wanted in GENERATED:
            continue
        elif "/" in wanted or path.parent.parent != root / "src" or not (path.parent / wanted).is_file():
            yield f"{where}: {wanted} is not a private header of {'the program' if layer is None else layer}"


def check(root):
    """All faults of the tree at root."""
    below, faults = read_table((root / "CMakeLists.txt").read_text(encoding="utf-8"))
    for top in (root / "include" / "refract", root / "src"):
        for path in sorted(top.rglob("*.[ch]")):
            layer = layer_of(path.relative_to(top))
            if layer is not None and layer not in below:
                faults.append(f"{path.relative_to(root)}: {layer} is not in the table")
            else:
                faults += check_file(root, path, layer, below)
    return faults


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__ + "/../..").resolve()
    faults = check(root)
    print("\n".join(faults) or "every include goes down")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
