#!/usr/bin/env python3
"""Recomputes vectors/protocol.json from docs/protocol.md and docs/format.md, without any ATE code.

    python3 vectors/check-protocol.py

Python's standard library only: the bytes of every message from its fields, the content of a Hello's signature, node ids, addresses, and from the frames of
chain-1.json batches, shown frames and what a replica keeps beside a chain. Signatures are left to `cargo test --workspace --all-features protocol`.
"""

import ipaddress
import json
import sys
import urllib.parse

import check as base
from check import HERE, WHO_BYTES, SIGNATURE_BYTES, Reader, check, failures, key_id, sha256, tag, tagged, u32, u64, varint, with_length

# --- Control messages: postcard, by the types of docs/protocol.md, section 4.


def unsigned(bits):
    def encode(value):
        if not 0 <= value < 1 << bits:
            raise ValueError("out of range")
        return varint(value)

    return encode


def raw(length):
    def encode(text):
        data = bytes.fromhex(text)
        if len(data) != length:
            raise ValueError("length")
        return data

    return encode


def octets(text):
    return with_length(bytes.fromhex(text))


def string(text):
    return with_length(text.encode())


def boolean(value):
    return bytes([value])


def option(inner):
    return lambda value: b"\0" if value is None else b"\1" + inner(value)


def several(inner):
    return lambda values: varint(len(values)) + b"".join(inner(value) for value in values)


def both(*inner):
    return lambda values: b"".join(encode(value) for encode, value in zip(inner, values, strict=True))


def struct(**fields):
    def encode(values):
        if list(sorted(values)) != sorted(fields):
            raise ValueError(f"fields {sorted(values)}")
        return b"".join(inner(values[name]) for name, inner in fields.items())

    return encode


def enum(**variants):
    """A variant without values is its name, any other an object of one entry."""
    names = list(variants)

    def encode(value):
        name, inner = (value, None) if isinstance(value, str) else next(iter(value.items()))
        return varint(names.index(name)) + (variants[name](inner) if variants[name] else b"")

    return encode


U16, U32, U64, HASH, KEY = unsigned(16), unsigned(32), unsigned(64), raw(32), raw(16)
VERSION = both(U64, U32)
REQUEST = enum(
    Hello=struct(version=U16, who=octets, signature=octets),
    Find=struct(name=string, root=option(HASH)),
    Follow=struct(chain=HASH, **{"from": U64}, lazy=boolean),
    Submit=struct(chain=HASH),
    Fetch=struct(chain=HASH, wanted=several(VERSION)),
    Standing=struct(chain=HASH),
    Ping=None,
    Announcements=struct(chain=HASH, service=string),
    Serve=struct(announcement=octets),
    Call=struct(chain=HASH, service=string, to=KEY),
    Called=struct(to=KEY),
    Witness=struct(chain=HASH, size=U64),
)
REPLY = enum(
    Welcome=struct(version=U16, note_key=octets, now_ms=U64),
    Found=struct(chain=HASH, size=U64, root=HASH),
    Ready=None,
    Pong=None,
    Announcements=several(octets),
)
STANDING = struct(size=U64, root=HASH, order_time_ms=U64, note=option(string))
REASON = enum(
    Conflict=struct(key=KEY, expected=enum(Absent=None, At=VERSION, Lane=VERSION), stored=option(VERSION)),
    Denied=struct(author=HASH, key=KEY),
    UnknownAuthor=struct(author=HASH),
    NoRecord=struct(key=KEY),
    StaleEpoch=struct(scope=KEY, current=U32),
    UnknownSchema=struct(key=KEY),
    Seen=None,
    Spent=struct(number=U64, last=U64),
    After=struct(after=U64),
    Other=struct(why=string),
)
ANSWER = enum(Landed=struct(seq=U64), Refused=struct(reason=REASON, at=U64), Later=struct(why=string))
ANSWERS = struct(ticket=U64, answers=several(ANSWER))
REFUSED = struct(code=U32, why=string)

# --- Bulk: the chain's own formats, from the frames of chain-1.json.


class Frames:
    def __init__(self, file):
        self.chain = bytes.fromhex(file["chain_id"])
        self.frames = [(f["kind"], f["number"], [bytes.fromhex(p) for p in f["parts"]]) for f in file["frames"]]

    def batch(self, first):
        """Section 4.4 of docs/format.md: a proof and its commits, without their order times."""
        kind, _, parts = self.frames[first]
        if kind != "proof":
            raise ValueError("a batch begins with a proof")
        out = with_length(parts[0])
        commits = base.proof(parts[0])["commits"]
        for kind, number, parts in self.frames[first + 1 : first + 1 + len(commits)]:
            check("a commit of the batch", kind, "commit")
            out += varint(len(parts)) + with_length(parts[0][8:]) + b"".join(map(with_length, parts[1:]))
        return out

    def shown(self, first, last, lazy):
        out = b""
        for kind, number, parts in self.frames[first:last]:
            parts = parts[:2] if lazy and kind == "commit" else parts
            out += bytes([1 if kind == "proof" else 2]) + varint(number) + varint(len(parts)) + b"".join(map(with_length, parts))
        return out

    def content(self, seq, event):
        """The sealed content of an event: those of a commit stand in the order of their events."""
        parts = next(parts for kind, number, parts in self.frames if kind == "commit" and number == seq)
        reader = Reader(parts[0])
        reader.take(8)
        head = base.commit_head(reader.bytes())
        events = [base.event(reader.bytes()) for _ in range(head["count"])]
        before = sum(base.CONTENT in e["bodies"] for e in events[:event])
        length, expected = events[event]["bodies"][base.CONTENT]
        content = parts[2 + before]
        check("hash of a content", (len(content), sha256(content)), (length, expected))
        return content


def bulk(frames, fields):
    if "batch" in fields:
        return u64(fields["ticket"]) + frames.batch(fields["batch"])
    if "frames" in fields:
        return frames.shown(*fields["frames"], fields["lazy"])
    if "opaque" in fields:
        return bytes.fromhex(fields["opaque"])
    if fields["content"] is None:
        return b"\0"
    return b"\1" + frames.content(*fields["content"])


KINDS = {1: REQUEST, 2: REPLY, 3: bulk, 4: STANDING, 5: bulk, 6: ANSWERS, 7: bulk, 8: bulk, 9: REFUSED}


def check_messages(file, frames):
    for message in file["messages"]:
        encode = KINDS[message["kind"]]
        payload = encode(frames, message["fields"]) if encode is bulk else encode(message["fields"])
        check("payload of " + message["name"], payload.hex(), message["payload"])
        framed = u32(len(payload)) + bytes([message["kind"]]) + payload
        check("bytes of " + message["name"], framed.hex(), message["message"])
    check("kinds", sorted({message["kind"] for message in file["messages"]}), sorted(KINDS))


def check_hello(file, identities):
    spki, node = bytes.fromhex(file["node"]["spki"]), bytes.fromhex(file["node"]["id"])
    check("SubjectPublicKeyInfo", spki[:22].hex(), "308207b2300b0609608648016503040312038207a100")
    check("its length", len(spki), 22 + 1952)
    check("node id", tagged("ATE-node-v1", spki), node)
    hello = file["hello"]
    content = bytes.fromhex(hello["binding"]) + node
    check("content", content.hex(), hello["content"])
    fields = file["messages"][0]["fields"]["Hello"]
    who = bytes.fromhex(fields["who"])
    check("who", fields["who"], identities[1]["who"])
    signed = b"ATE-sig-v1" + b"\x01" + b"\x02" + key_id(who) + sha256(content)
    check("signed message", signed.hex(), hello["signed"])
    check("lengths", (len(who), len(bytes.fromhex(fields["signature"]))), (WHO_BYTES, SIGNATURE_BYTES))


def check_side(file, frames):
    side = file["side"]
    check("side stream", tagged("ATE-side-v1", frames.chain).hex(), side["stream"])
    for frame in side["frames"]:
        parts = [bytes.fromhex(part) for part in frame["parts"]]
        if frame["kind"] == "staged":
            replaced = b"".join(bytes.fromhex(old) + bytes.fromhex(new) for old, new in frame["replaces"])
            check("staged", parts, [replaced, frames.batch(frame["batch"])])
            reader = Reader(frames.frames[frame["batch"] + 1][2][0])
            reader.take(8)
            check("number of a staged batch", frame["number"], base.commit_head(reader.bytes())["number"])
        elif frame["kind"] == "settled":
            refusal = b"" if frame["class"] is None else bytes([frame["class"]]) + frame["reason"].encode()
            check("settled", parts, [bytes.fromhex(frame["id"]) + refusal])
            check("number of a settled one", frame["number"], 0)
        else:
            check("body", parts, [varint(frame["event"]), frames.content(frame["number"], frame["event"])])
        check("head parts", frame["head_parts"], 1)


# --- Addresses, section 2.

PLAIN = "-._~!$&'()*+,;=:@"


def hash_text(text):
    if len(text) != 64 or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise ValueError("not 64 hex digits")
    return text.lower()


def parse_host(text):
    if text.startswith("["):
        if not text.endswith("]") or "%" in text:
            raise ValueError("bracket or zone")
        return f"[{ipaddress.IPv6Address(text[1:-1])}]"
    labels = text.split(".")
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-_")
    if len(text) > 253 or not all(0 < len(x) < 64 and set(x.lower()) <= letters and x[0] != "-" != x[-1] for x in labels):
        raise ValueError("host")
    last = labels[-1].lower()
    if last.isdigit() or last.startswith("0x") and all(c in "0123456789abcdef" for c in last[2:]):
        return str(ipaddress.IPv4Address(text))
    return text.lower()


def parse_node(text):
    node, at, place = text.partition("@")
    node, place = (hash_text(node), place) if at else (None, text)
    end = place.index("]") + 1 if place.startswith("[") else place.find(":") % (len(place) + 1)
    host, port = place[:end], place[end:]
    if port and (port[0] != ":" or not port[1:].isdigit() or port[1] == "0" or int(port[1:]) > 65535):
        raise ValueError("port")
    return node, parse_host(host), int(port[1:]) if port else 4433


def parse_name(text):
    if not all(c.isascii() and c.isalnum() or c in PLAIN or c == "%" for c in text):
        raise ValueError("a character that must be encoded")
    for index, c in enumerate(text):
        if c == "%":
            int(text[index + 1 : index + 3].ljust(2, "x"), 16)
    name = urllib.parse.unquote_to_bytes(text).decode()
    if not 1 <= len(name.encode()) <= 1024 or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in name):
        raise ValueError("name")
    return name


def print_node(node, host, port):
    return "ate://" + (f"{node}@" if node else "") + f"{host}:{port}"


def rest_of(text):
    if len(text.encode()) > 4096 or not text.startswith("ate://"):
        raise ValueError("scheme or length")
    return text[6:]


def parse_chain(text):
    rest, asked, query = rest_of(text).partition("?")
    authority, _, path = rest.partition("/")
    node, parts = parse_node(authority), path.split("/")
    if len(parts) > 2 or asked and not query.startswith("id="):
        raise ValueError("path or query")
    root = hash_text(parts[0].removeprefix("ate-key:")) if len(parts) == 2 else None
    return node, root, parse_name(parts[-1]), hash_text(query[3:]) if asked else None


def print_chain(node, root, name, chain):
    quoted = urllib.parse.quote(name, safe="-._~")
    return print_node(*node) + "/" + (f"{root}/" if root else "") + quoted + (f"?id={chain}" if chain else "")


def check_addresses(file):
    for good in file["nodes"]:
        rest = rest_of(good["text"])
        node, host, port = parse_node(rest.removesuffix("/"))
        check(good["text"], print_node(node, host, port), good["printed"])
        check(good["text"], (node, host.strip("[]"), port), (good["node"], good["host"], good["port"]))
    for good in file["chains"]:
        node, root, name, chain = parse_chain(good["text"])
        check(good["text"], print_chain(node, root, name, chain), good["printed"])
        check(good["text"], (root, name, chain), (good["root"], good["name"], good["id"]))
        check("printed again", print_chain(*parse_chain(good["printed"])), good["printed"])
    for text in file["refused"]:
        try:
            parse_chain(text)
            failures.append(f"{text} is taken")
        except (ValueError, IndexError):
            check(text, True, True)


def main():
    file = json.loads((HERE / "protocol.json").read_text())
    chain = json.loads((HERE / file["chain"]).read_text())
    frames = Frames(chain)
    try:
        check_messages(file, frames)
        check_hello(file, chain["identities"])
        check_side(file, frames)
        check_addresses(file["addresses"])
    except (ValueError, KeyError, StopIteration, IndexError) as error:
        failures.append(f"protocol.json: {type(error).__name__}: {error}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"{base.passed} passed, {len(failures)} failed")
    sys.exit(bool(failures) or not base.passed)


if __name__ == "__main__":
    main()
