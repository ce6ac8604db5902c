"""The sums in a .moeval file (docs/evaluate.md): what each plan costs on each unit of the text, for paired comparisons."""

import struct

import numpy as np

MAGIC = b"MOEEVAL\n"
TOKENS, NLL_FULL, NLL_CHANGED, KL = range(4)


class Cbor:
    """RFC 8949, as far as the file needs it: integers, floats, strings, byte strings, lists, maps, true, false, null."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n : self.at]

    def argument(self, info):
        if info < 24:
            return info
        size = {24: 1, 25: 2, 26: 4, 27: 8}[info]
        return int.from_bytes(self.take(size), "big")

    def item(self):
        major, info = divmod(self.take(1)[0], 32)
        if major == 7:
            formats = {25: ">e", 26: ">f", 27: ">d"}
            if info in formats:
                return struct.unpack(formats[info], self.take(struct.calcsize(formats[info])))[0]
            return {20: False, 21: True, 22: None}[info]
        n = self.argument(info)
        if major < 2:
            return n if major == 0 else -1 - n
        if major < 4:
            raw = self.take(n)
            return raw if major == 2 else raw.decode("utf-8")
        if major == 4:
            return [self.item() for _ in range(n)]
        if major == 5:
            return {self.item(): self.item() for _ in range(n)}
        raise ValueError(f"CBOR item of major type {major}")


def read_plans(path):
    """For each plan {label: [units, 8] doubles}; the columns are those of docs/evaluate.md."""
    with open(path, "rb") as f:
        data = f.read()
    if not data.startswith(MAGIC):
        raise ValueError(f"{path} is no .moeval file")
    content = Cbor(data[len(MAGIC) :]).item()
    label_of = np.array(content["unit_label"])
    plans = []
    for raw in content["sums"]:
        sums = np.frombuffer(raw, "<f8").reshape(len(label_of), -1)
        plans.append({name: sums[label_of == i] for i, name in enumerate(content["labels"])})
    return plans
