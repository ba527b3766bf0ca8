"""Files of models, broken in ways that happen, and in ways that somebody has thought out."""

from __future__ import annotations

import copy
import json
import zlib

from fastmlp.saving.tensors import CHECK_SUM, METADATA, TEXT

#: Values that stand where others should: of other kinds, too large, too deep, names of things that must not be looked up.
HOSTILE = [
    *(None, True, False, -1, 0, 1, 2**31, 2**62, 2**63, 10**300, -(10**30), 1e308, -0.0, 0.5, float("nan"), float("inf")),
    *("", "0", "os.system", "builtins.eval", "__class__", "__reduce__", "__init__", "Module", "Sequential", "Adam", "Linear"),
    *("\ud800", "\x00", "a" * 300, "../../etc/passwd", "float16", "object", "2.weight", "0.weight", "\u202e"),
    *([], {}, [[]], [None], {"class": "os.system"}, {"custom": "system"}, {"custom": ["x"]}, {"array": "0.weight"}),
    *({"class": "system", "arguments": {"command": "touch hacked"}}, {"float": "1e9"}, {"float": "nan"}, {"dtype": "object"}),
    *(
        {"tuple": 3},
        {"dict": []},
        {"pairs": [[1, 2], [1, 3]]},
        {"pairs": [[[], 1]]},
        {"Module": {"class": "ReLU", "arguments": {}}},
    ),
    *({"LRScheduler": {"class": "StepLR", "arguments": {"step_size": 1}}}, {"class": "Linear", "arguments": {}}),
    {"class": "Linear", "arguments": {"in_features": 2**40, "out_features": 2**20}},
    {"class": "Embedding", "arguments": {"num_embeddings": 2**50, "embedding_dim": 2**10}},
    {"class": "BatchNorm1d", "arguments": {"num_features": 2**44}},
    {"class": "Dropout", "arguments": {"p": 0.5, "rng": 0}},
]


def split(content):
    """Header and numbers of a file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, numbers):
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + numbers


def signed(header, numbers, text):
    """A file with another description and the check sum that fits it, computed as the package says, without the package."""
    total = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    for name in sorted(set(header) - {METADATA}):
        entry = header[name]
        first, last = entry["data_offsets"]
        head = repr((name, entry["dtype"], tuple(entry["shape"])))
        total = zlib.crc32(numbers[first:last], zlib.crc32(head.encode(), total))
    return joined({**header, METADATA: {"format": "pt", TEXT: text, CHECK_SUM: f"{total:08x}"}}, numbers)


def places(value, path=()):
    """The ways to each part of a JSON value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def put(value, path, new):
    """A JSON value with another part."""
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = put(value[path[0]], path[1:], new)
    return value


def at(value, path):
    for key in path:
        value = value[key]
    return value


def without(value, path):
    """A JSON value without a part."""
    parent = copy.copy(at(value, path[:-1]))
    del parent[path[-1]]
    return put(value, path[:-1], parent)


def one_of(rng, values):
    return values[int(rng.integers(len(values)))]


# What happens to files. A loader may take none of these for another model.


def cut(rng, content):
    return content[: rng.integers(len(content))]


def longer(rng, content):
    return content + rng.bytes(int(rng.integers(1, 100)))


def flipped(rng, content):
    broken = bytearray(content)
    for place in rng.integers(len(broken), size=rng.integers(1, 6)):
        broken[place] ^= 1 << int(rng.integers(8))
    return bytes(broken)


def blanked(rng, content):
    """A block of a disk that was never written."""
    first = int(rng.integers(len(content)))
    size = int(rng.integers(1, 600))
    return (content[:first] + bytes(size) + content[first + size :])[: len(content)]


def moved(rng, content):
    """A part of the file twice."""
    first, second = sorted(map(int, rng.integers(len(content), size=2)))
    return content[:second] + content[first:]


ACCIDENTS = [cut, longer, flipped, blanked, moved]

# What somebody does to them.


def of_another_length(rng, content):
    length = one_of(rng, [0, 1, 2, 2**31, 2**32, 2**62, 2**64 - 1, 100_000_001, len(content), len(content) - 8, 1000])
    return length.to_bytes(8, "little") + content[8:]


def of_another_header(rng, content):
    header, numbers = split(content)
    path = one_of(rng, [path for path in places(header) if path])
    header = put(header, path, one_of(rng, HOSTILE)) if rng.random() < 0.8 else without(header, path)
    return joined(header, numbers)


def of_overlapping_tensors(rng, content):
    header, numbers = split(content)
    names = [name for name in header if name != METADATA]
    entry = header[one_of(rng, names)]
    how = rng.integers(5)
    if how == 0:
        entry["data_offsets"] = header[one_of(rng, names)]["data_offsets"]
    elif how == 1:
        entry["data_offsets"] = [offset + int(rng.integers(-9, 9)) for offset in entry["data_offsets"]]
    elif how == 2:
        entry["data_offsets"] = entry["data_offsets"][::-1]
    elif how == 3:
        entry["shape"] = [*entry["shape"], one_of(rng, [0, 1, -1, 2**63, 10**40])]
    else:
        entry["dtype"] = one_of(rng, ["F64", "F16", "BF16", "F8_E4M3", "I64", "I32", "BOOL", "U8", "f32", "O", "F32 "])
    return joined(header, numbers)


def of_keys_twice(rng, content):
    header, numbers = split(content)
    text = json.dumps(header)
    key = one_of(rng, list(header))
    return joined(text[:-1] + f", {json.dumps(key)}: {json.dumps(header[key])}}}", numbers)


def bomb(rng, content):
    header, numbers = split(content)
    depth = one_of(rng, [100, 900, 2000, 100_000])
    nested = one_of(rng, ["[", '{"a":', '{"tuple":['])
    closing = {"[": "]", '{"a":': "}", '{"tuple":[': "]}"}[nested]
    text = nested * depth + "1" + closing * depth
    if rng.random() < 0.5:
        return joined(text, numbers)
    described = header[METADATA][TEXT]
    return signed(header, numbers, described.replace('"values":{', f'"values":{{"history":{text},', 1))


def nest(rng, content):
    """Networks in networks in networks."""
    header, numbers = split(content)
    described, depth = json.loads(header[METADATA][TEXT]), one_of(rng, [3, 50, 150, 3000])
    begin, end = '{"class": "Sequential", "arguments": {}, "modules": [["0", ', "]]}"
    model = begin * depth + json.dumps(described["model"]) + end * depth
    return signed(header, numbers, json.dumps(described | {"model": "HERE"}).replace('"HERE"', model))


def crowd(rng, content):
    header, numbers = split(content)
    described = json.loads(header[METADATA][TEXT])
    more = one_of(rng, [{"class": "ReLU", "arguments": {}}, {"class": "Dropout", "arguments": {}}, {"class": "Nothing"}])
    described["model"]["modules"] += [[str(i), more] for i in range(10, one_of(rng, [11, 100, 2000]))]
    return signed(header, numbers, json.dumps(described))


def of_another_description(rng, content):
    """Some values of the description are others, and the check sum fits."""
    header, numbers = split(content)
    described = json.loads(header[METADATA][TEXT])
    for _ in range(rng.integers(1, 3)):
        path = one_of(rng, [path for path in places(described) if path])
        if rng.random() < 0.15:
            described = without(described, path)
        elif rng.random() < 0.3:  # a part from another place
            described = put(described, path, at(described, one_of(rng, list(places(described)))))
        else:
            described = put(described, path, one_of(rng, HOSTILE))
    return signed(header, numbers, json.dumps(described))


def of_another_text(rng, content):
    """The same, as bytes: some that JSON does not have."""
    header, numbers = split(content)
    text = list(header[METADATA][TEXT])
    for place in rng.integers(len(text), size=rng.integers(1, 4)):
        text[place] = one_of(rng, list('{}[]",:0123456789.eE+-NaInftrulse\\ \x00\ud800é'))
    return signed(header, numbers, "".join(text))


def of_other_numbers(rng, content):
    """Numbers that are any bits at all, NaN and infinity too; the check sum fits."""
    header, numbers = split(content)
    return signed(header, rng.bytes(len(numbers)), header[METADATA][TEXT])


def nonsense(rng, content):
    return rng.bytes(int(rng.integers(0, 400)))


ATTACKS = [
    *(of_another_length, of_another_header, of_overlapping_tensors, of_keys_twice, bomb, nest, crowd),
    *(of_another_description, of_another_description, of_another_description, of_another_text, of_other_numbers, nonsense),
]
