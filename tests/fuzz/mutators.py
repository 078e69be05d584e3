"""Changes to a file that leave it whole enough to be read on.

Each takes the content, a random generator and a function that changes bytes in any way.
"""

import json
import struct
import zlib

from fuzz.seeds import png_chunk

_NUMBERS = (0, 1, 2, 3, 4, 7, 8, 16, 255, 256, 65535, 1 << 20, (1 << 31) - 1, 1 << 31)
_NUMBERS += ((1 << 32) - 1,)
_WORDS = (None, True, 0, -1, 1, 1.5, 1e308, 1 << 64, 1 << 70, "", "x", "0", [], {}, [1])
_WORDS += ({"a": 1}, [[]], "YX", "uint8", "float64", "NaN", "../x", "/", "\0", "é" * 99)


def mutate_png(content, rng, change):
    """Change the data of a chunk, or the order of chunks; check sums are right."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return change(content)
    place, way = rng.randrange(len(chunks)), rng.random()
    kind, data = chunks[place]
    if way < 0.7:
        chunks[place] = kind, _changed_data(kind, data, rng, change)
    elif way < 0.8:
        chunks.insert(rng.randrange(len(chunks) + 1), (kind, data))
    elif way < 0.9:
        del chunks[place]
    else:
        chunks[place] = change(kind)[:4].ljust(4, b"a"), data
    return content[:8] + b"".join(png_chunk(*chunk) for chunk in chunks)


def _changed_data(kind, data, rng, change):
    """Change the data of a chunk; what is compressed, at times below."""
    heads = {b"IDAT": 0, b"fdAT": 4, b"iCCP": 2 + data.find(b"\0")}
    heads[b"zTXt"] = heads[b"iCCP"]
    if kind in heads and rng.random() < 0.5:
        head = heads[kind]
        try:
            inner = zlib.decompressobj().decompress(data[head:], 1 << 16)
        except zlib.error:
            return change(data)
        return data[:head] + zlib.compress(change(inner), 1)
    return change(data)


def mutate_tiff(content, rng, change):
    """Put other numbers into an entry of a directory of a TIFF file."""
    if (
        content[:4] not in (b"II*\0", b"MM\0*")
        or len(content) < 14
        or rng.random() < 0.3
    ):
        return change(content)
    order = "<" if content[:2] == b"II" else ">"
    places, seen, at = [], set(), struct.unpack_from(order + "I", content, 4)[0]
    while at not in seen and 0 < at + 2 <= len(content):
        seen.add(at)
        (n_entries,) = struct.unpack_from(order + "H", content, at)
        end = at + 2 + 12 * n_entries
        places += range(at + 2, min(end, len(content) - 12), 12)
        if end + 4 > len(content):
            break
        (at,) = struct.unpack_from(order + "I", content, end)
    if not places:
        return change(content)
    found, place = bytearray(content), rng.choice(places)
    number = rng.choice([*_NUMBERS, rng.randrange(len(content) + 1)])
    field = rng.choice(((0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H"), (8, "B")))
    code = order + field[1]
    number &= (1 << 8 * struct.calcsize(code)) - 1
    struct.pack_into(code, found, place + field[0], number)
    return bytes(found)


def mutate_json(content, rng, change):
    """Put another word, or that of another place, into a document of JSON."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return change(content)
    places = list(_places(document))
    if not places or rng.random() < 0.1:
        return change(content)
    holder, key = rng.choice(places)
    other, name = rng.choice(places)
    value, way = holder[key], rng.random()
    if way < 0.4:
        holder[key] = rng.choice(_WORDS)
    elif way < 0.55:
        del holder[key]
    elif way < 0.7:
        holder[key] = json.loads(json.dumps(other[name]))
    elif isinstance(value, str):
        holder[key] = change(value.encode()).decode(errors="replace")
    elif isinstance(value, int | float):
        holder[key] = rng.choice([*_NUMBERS, -value, value * 2, value + 1, value / 3])
    elif isinstance(value, list):
        holder[key] = [*value, *value]
    return json.dumps(document).encode()


def _places(node):
    """Yield all lists and objects of a document, with the keys that they have."""
    if isinstance(node, dict | list):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            yield node, key
            yield from _places(node[key])


def mutate_palette(content, rng, change):
    """Change a palette below the line that says its suffix."""
    suffix, _, inner = content.partition(b"\n")
    mutate = mutate_json if suffix == b".json" else _mutate_any
    return suffix + b"\n" + mutate(inner, rng, change)


def mutate_command(content, rng, change):
    """Change the file of a call, rarely the call."""
    if rng.random() < 0.05:
        return change(content)
    inner = content[1:]
    starts = {b"\x89PN": mutate_png, b"II*": mutate_tiff, b"{": mutate_json}
    mutate = next((m for s, m in starts.items() if inner.startswith(s)), _mutate_any)
    return content[:1] + mutate(inner, rng, change)


def _mutate_any(content, _, change):
    return change(content)
