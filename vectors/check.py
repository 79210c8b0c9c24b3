#!/usr/bin/env python3
"""Recomputes vectors/chain-*.json from docs/format.md, without any ATE code.

    python3 vectors/check.py

Python's standard library only: hashes, derivations, ids, tags, tokens, record keys, Merkle and batch roots, links, references and the decoding of every
event. Ed25519, ML-DSA, X-Wing and AES-GCM are left to `cargo test -p ate-chain --test vectors` and to crypto-check.py.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
SUITE = b"\x01"
ROOT = bytes(16)
WHO_BYTES, NOTE_KEY_BYTES, SIGNATURE_BYTES = 1 + 32 + 1952 + 1216, 32 + 1952, 64 + 3309
META, CONTENT, WRITE, READ, DEFINES = 1, 2, 4, 8, 16
passed, failures = 0, []


def check(what, got, expected):
    global passed
    if got == expected:
        passed += 1
    else:
        show = lambda value: value.hex() if isinstance(value, bytes) else value
        failures.append(f"{what}: {show(got)}, expected {show(expected)}")


def sha256(data):
    return hashlib.sha256(data).digest()


def tag(text):
    return bytes([len(text)]) + text.encode()


def tagged(text, data):
    return sha256(tag(text) + data)


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key, info):
    """HKDF-Expand to one block, RFC 5869."""
    return mac(key, info + b"\x01")


def u32(value):
    return value.to_bytes(4, "little")


def u64(value):
    return value.to_bytes(8, "little")


def varint(value):
    out = b""
    while True:
        low, value = value & 0x7F, value >> 7
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def with_length(data):
    return varint(len(data)) + data


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("input ends")
        self.at += count
        return self.data[self.at - count : self.at]

    def u8(self):
        return self.take(1)[0]

    def varint(self):
        start, value, shift = self.at, 0, 0
        while True:
            byte = self.u8()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        if self.data[start : self.at] != varint(value) or value >= 1 << 64:
            raise ValueError("not the shortest form")
        return value

    def bytes(self):
        return self.take(self.varint())

    def list(self, item):
        return [item() for _ in range(self.varint())]

    def end(self):
        if self.at != len(self.data):
            raise ValueError("bytes left over")


def merkle_root(leaves):
    """RFC 9162 section 2.1 over leaf hashes."""
    if not leaves:
        return sha256(b"")
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + merkle_root(leaves[:split]) + merkle_root(leaves[split:]))


def leaf_hash(data):
    return sha256(b"\x00" + data)


def reference(reader):
    kind = reader.u8()
    if kind == 0:
        return ("absent",)
    if kind > 2:
        raise ValueError("reference kind")
    return ("at" if kind == 1 else "lane", reader.varint(), reader.varint())


def write_policy(reader):
    kind = reader.u8()
    if kind in (0, 1):
        return ("inherit", "nobody")[kind]
    if kind == 2:
        return [reader.take(32)]
    if kind != 3:
        raise ValueError("write policy")
    keys = reader.list(lambda: reader.take(32))
    if not 2 <= len(keys) <= 64 or sorted(set(keys)) != keys:
        raise ValueError("policy keys")
    return keys


def read_policy(reader):
    kind = reader.u8()
    if kind == 0:
        return ("inherit",)
    if kind == 1:
        return ("public", reader.take(32), reader.take(32))
    if kind != 2:
        raise ValueError("read policy")
    return ("keys", reader.take(32))


ALLOWED = {0: WRITE | READ, 1: META | CONTENT | WRITE | READ | DEFINES, 2: META | CONTENT | WRITE | READ}


def event(data):
    reader = Reader(data)
    kind, flags = reader.u8(), reader.u8()
    out = {"kind": kind, "hash": leaf_hash(data), "bodies": {}, "defines": bool(flags & DEFINES)}
    if kind == 0:
        out["name"], out["who"] = reader.bytes(), reader.take(WHO_BYTES)
        out["recovery"] = reader.list(lambda: reader.take(32))
        out["notes"] = reader.list(lambda: reader.take(NOTE_KEY_BYTES))
        out["rule_version"], out["suites"], out["target"] = reader.varint(), reader.bytes(), ROOT
    elif kind == 1:
        out["parent"], out["collection"], out["token"], out["schema"] = (reader.take(n) for n in (16, 8, 16, 8))
        out["ref"] = reference(reader)
        out["target"] = tagged("ATE-record-v1", out["parent"] + out["collection"] + out["token"])[:16]
    elif kind == 2:
        out["target"], out["schema"], out["ref"] = reader.take(16), reader.take(8), reference(reader)
    elif kind in (3, 7):
        out["target" if kind == 3 else "requires"], out["ref"] = reader.take(16), reference(reader)
    elif kind == 4:
        out["who"] = reader.take(WHO_BYTES)
    elif kind == 5:
        out["scope"], out["epoch"], out["recipient"] = reader.take(16), reader.varint(), reader.take(32)
        if reader.u8() != 0:
            raise ValueError("wrap kind")
        out["wrapped"] = reader.take(1120 + 80)
    elif kind == 6:
        out["scope"], out["epoch"], out["commitment"] = reader.take(16), reader.varint(), reader.take(32)
        history = reader.u8()
        if history > 1:
            raise ValueError("history kind")
        out["link"] = reader.take(48) if history else None
    elif kind == 8:
        out["target"], out["ref"], out["erases"] = reader.take(16), reference(reader), True
    elif kind == 9:
        out["horizon"] = reader.varint()
    else:
        raise ValueError("event kind")
    if flags & ~ALLOWED.get(kind, 0) or kind == 0 and flags != WRITE | READ:
        raise ValueError("flags")
    out["write"] = write_policy(reader) if flags & WRITE else None
    out["read"] = read_policy(reader) if flags & READ else None
    out["prefix"] = data[: reader.at]
    for flag in (META, CONTENT):
        if flags & flag:
            out["bodies"][flag] = (reader.varint(), reader.take(32))
    reader.end()
    return out


def commit_head(data):
    reader = Reader(data)
    head = {"format": reader.u8(), "rules": reader.varint(), "suite": reader.u8()}
    head["author"], head["lane"] = reader.take(32), reader.take(16)
    head["number"], head["author_time"] = reader.varint(), reader.varint()
    head["seen"], head["salt"] = (reader.varint(), reader.take(32)), reader.take(32)
    head["commitments"] = reader.list(lambda: (reader.take(16), reader.varint(), reader.take(32)))
    head["after"], head["count"], head["root"] = reader.varint(), reader.varint(), reader.take(32)
    reader.end()
    scopes = [scope for scope, _, _ in head["commitments"]]
    if sorted(set(scopes)) != scopes or (head["format"], head["rules"], head["suite"]) != (1, 1, 1):
        raise ValueError("commit head")
    return head


def proof(data):
    reader = Reader(data)
    if (reader.u8(), reader.u8()) != (1, 1):
        raise ValueError("proof kind")
    out = {"author": reader.take(32), "lane": reader.take(16), "link": reader.take(32)}
    out["commits"] = reader.list(lambda: reader.take(32))
    depth = reader.u8()
    out["index"] = reader.varint()
    out["path"] = [reader.take(32) for _ in range(depth)]
    out["signature"] = reader.take(SIGNATURE_BYTES)
    reader.end()
    return out


def key_id(who):
    return tagged("ATE-key-v1", who[: 1 + 32 + 1952])


class Chain:
    def __init__(self, file):
        self.file = file
        self.id = bytes.fromhex(file["chain_id"])
        self.keys = {(bytes.fromhex(k["scope"]), k["epoch"]): k for k in file["keys"]}
        self.leaves, self.records, self.lanes, self.last_leaf, self.expected = [], {}, {}, {}, []
        self.epochs, self.known, self.opened = {}, {}, 0
        self.horizon, self.brought, self.erased, self.ended = 0, {}, {}, {}

    def read_key(self, scope, epoch):
        return bytes.fromhex(self.keys[scope, epoch]["read_key"])

    def name_key(self, scope, epoch=None):
        epochs = [e for s, e in self.keys if s == scope]
        return bytes.fromhex(self.keys[scope, epoch or epochs[0]]["name_key"])

    def scope_of(self, key):
        while not self.records[key]["scope"]:
            key = self.records[key]["parent"]
        return key

    def check_keys(self):
        descriptor = sha256(bytes.fromhex(self.file["descriptor"]))
        for (scope, epoch), key in self.keys.items():
            read = self.read_key(scope, epoch)
            check("scope commitment", expand(read, tag("ATE-scope-commitment-v1") + SUITE).hex(), key["scope_commitment"])
            check("schema tag", mac(self.name_key(scope, epoch), tag("ATE-schema-v1") + descriptor)[:8].hex(), key["schema_tag"])
            check("name keys do not change", self.name_key(scope, epoch), self.name_key(scope))

    def proof_frame(self, frame):
        found = proof(bytes.fromhex(frame["parts"][0]))
        check("parts of a proof frame", len(frame["parts"]), 1)
        lane = (found["author"], found["lane"])
        check("link", found["link"], self.last_leaf.get(lane, bytes(32)))
        commits = merkle_root([leaf_hash(commit) for commit in found["commits"]])
        leaf = leaf_hash(tag("ATE-batch-v1") + self.id + found["lane"] + found["link"] + commits)
        check("batch leaf", leaf.hex(), frame["leaf"])
        self.last_leaf[lane] = leaf
        node, index = leaf, found["index"]
        for sibling in found["path"]:
            node = sha256(b"\x01" + (sibling + node if index & 1 else node + sibling))
            index >>= 1
        check("batch root", node.hex(), frame["batch_root"])
        check("leaf index", index, 0)
        check("the proof before is used up", self.expected, [])
        self.expected = [(found["author"], found["lane"], commit) for commit in found["commits"]]

    def commit_frame(self, frame, known):
        seq, parts = len(self.leaves), [bytes.fromhex(part) for part in frame["parts"]]
        reader = Reader(parts[0])
        order_time = int.from_bytes(reader.take(8), "little")
        head_bytes = reader.bytes()
        head = commit_head(head_bytes)
        events = [event(reader.bytes()) for _ in range(head["count"])]
        reader.end()
        chain = bytes(32) if seq == 0 else self.id
        commit = tagged("ATE-commit-v1", chain + head_bytes)
        check("number", (frame["number"], known["seq"]), (seq, seq))
        check("commit id", commit.hex(), known["id"])
        check("author", head["author"].hex(), known["author"])
        check("proved", self.expected.pop(0), (head["author"], head["lane"], commit))
        if seq == 0:
            check("chain id", commit, self.id)
        check("events root", merkle_root([e["hash"] for e in events]), head["root"])
        check("events root", head["root"].hex(), known["events_root"])
        check("order time", order_time, known["order_time_ms"])
        check("salt", head["salt"].hex(), known["salt"])
        check("seen", merkle_root(self.leaves[: head["seen"][0]]), head["seen"][1])
        check("seen is before", head["seen"][0] <= seq, True)
        leaf = leaf_hash(tag("ATE-leaf-v1") + u64(seq) + u64(order_time) + commit)
        check("leaf", leaf.hex(), known["leaf"])
        self.leaves.append(leaf)
        check("root", merkle_root(self.leaves).hex(), known["root_after"])
        lane = self.lanes.setdefault((head["author"], head["lane"]), {})
        check("lane number", head["number"] > max(lane, default=0), True)
        check("lane number", head["number"], known["lane_number"])
        lane[head["number"]] = seq
        names = ["genesis", "create", "update", "remove", "introduce", "grant", "rotate", "require", "erase", "horizon"]
        check("events", [names[e["kind"]] for e in events], known["events"])
        self.bodies(events, parts)
        self.events(seq, head, lane, events)
        self.commitments(head)

    def bodies(self, events, parts):
        metas, contents = Reader(parts[1]), iter(parts[2:])
        for e in events:
            for flag, (length, expected) in e["bodies"].items():
                part = metas.take(length) if flag == META else next(contents)
                check("length of a sealed part", len(part), length)
                check("hash of a sealed part", sha256(part), expected)
                e.setdefault("sealed", {})[flag] = part
        metas.end()
        check("parts", next(contents, None), None)

    def events(self, seq, head, lane, events):
        for e in events:
            if e["kind"] == 6:
                check("rotated epoch", e["epoch"], self.epochs[e["scope"]] + 1)
                self.epochs[e["scope"]] = e["epoch"]
                read = self.read_key(e["scope"], e["epoch"])
                check("rotation", expand(read, tag("ATE-scope-commitment-v1") + SUITE), e["commitment"])
        for index, e in enumerate(events):
            if e["kind"] in (0, 4):
                self.known[key_id(e["who"])] = e["who"]
            if e["kind"] == 0:
                check("name", e["name"].decode(), self.file["name"])
                check("rules and suites", (e["rule_version"], e["suites"]), (1, SUITE))
                check("root", key_id(e["who"]), head["author"])
            key = e.get("target", e.get("requires"))
            stored = self.records.get(key, {}).get("version")
            if "ref" in e:
                kind, *rest = e["ref"]
                at = {"absent": lambda: None, "at": lambda: tuple(rest), "lane": lambda: (lane[rest[0]], rest[1])}[kind]()
                check("reference", at, stored)
            if "target" in e:
                self.target(seq, index, e)
            if "horizon" in e:
                check("horizon", self.horizon < e["horizon"] <= seq, True)
                self.horizon = e["horizon"]
            self.note_bodies(seq, index, e)
            if e["kind"] == 5:
                check("grant", (e["epoch"], e["recipient"] in self.known), (self.epochs[e["scope"]], True))
        check("author is known", head["author"] in self.known, True)

    def note_bodies(self, seq, index, e):
        """For section 4.3: which bodies a record has had, when each content was superseded, and when the record was erased last."""
        key = e.get("target")
        if key is None:
            return
        bodies = self.brought.setdefault(key, [])
        if e["kind"] in (1, 2, 3, 8):
            current = [at for at, flags in bodies if flags & CONTENT and at not in self.ended]
            if CONTENT in e["bodies"] or e["kind"] in (3, 8):
                self.ended.update({at: seq for at in current})
        if e["bodies"]:
            bodies.append(((seq, index), sum(e["bodies"])))
        if e.get("erases"):
            self.erased[key] = seq

    def gone(self):
        """What the chain declares gone: event and flag."""
        gone = set()
        for key, bodies in self.brought.items():
            for (seq, index), flags in bodies:
                if seq < self.erased.get(key, 0):
                    gone |= {((seq, index), flag) for flag in (META, CONTENT) if flags & flag}
                elif flags & CONTENT and self.ended.get((seq, index), self.horizon) < self.horizon:
                    gone.add(((seq, index), CONTENT))
        return gone

    def check_destroyed(self, frames):
        """The frames after what is gone was destroyed: metas are zeros, contents have no bytes, all else is as it was."""
        gone, met = self.gone(), set()
        written = [frame for frame in self.file["frames"] if frame["kind"] == "commit"]
        destroyed = [frame for frame in frames if frame["kind"] == "commit"]
        check("proofs stay", [f for f in frames if f["kind"] == "proof"], [f for f in self.file["frames"] if f["kind"] == "proof"])
        for before, after in zip(written, destroyed, strict=True):
            seq, before, after = before["number"], before["parts"], after["parts"]
            reader = Reader(bytes.fromhex(before[0]))
            reader.take(8)
            count = commit_head(reader.bytes())["count"]
            events = [event(reader.bytes()) for _ in range(count)]
            metas, contents = Reader(bytes.fromhex(before[1])), iter(before[2:])
            expected = [before[0], b""]
            for index, e in enumerate(events):
                for flag, (length, _) in e["bodies"].items():
                    is_gone = ((seq, index), flag) in gone
                    met |= {((seq, index), flag)} if is_gone else set()
                    if flag == META:
                        meta = metas.take(length)
                        expected[1] += bytes(length) if is_gone else meta
                    else:
                        content = next(contents)
                        expected.append("" if is_gone else content)
            expected[1] = expected[1].hex()
            check(f"commit {seq} after the destruction", after, expected)
        check("what is gone", met, gone)
        check("something is", bool(gone), True)

    def target(self, seq, index, e):
        record = self.records.setdefault(e["target"], {"parent": e.get("parent", ROOT), "scope": False})
        record["version"] = (seq, index)
        if e["read"] and e["read"][0] != "inherit":
            record["scope"] = True
            epoch = self.epochs[e["target"]] = self.epochs.get(e["target"], 0) + 1
            read = self.read_key(e["target"], epoch)
            if e["read"][0] == "public":
                check("public keys", e["read"][1:], (read, self.name_key(e["target"])))
            else:
                check("scope commitment", e["read"][1], expand(read, tag("ATE-scope-commitment-v1") + SUITE))
        if CONTENT in e["bodies"]:
            scope = self.scope_of(e["target"])
            record["sealed"], record["schema"] = (scope, self.epochs[scope]), e["schema"]
            check("schema tag", e["schema"].hex(), self.keys[scope, self.epochs[scope]]["schema_tag"])

    def commitments(self, head):
        for scope, epoch, commitment in head["commitments"]:
            check("epoch", epoch, self.epochs[scope])
            read = self.read_key(scope, epoch)
            check("key commitment", expand(read, tag("ATE-key-commitment-v1") + SUITE + head["salt"]), commitment)

    def check_records(self):
        for record in self.file["records"]:
            parent, scope = bytes.fromhex(record["parent"]), bytes.fromhex(record["name_scope"])
            check("scope of a name", self.scope_of(parent), scope)
            key, collection, name = self.name_key(scope), record["collection"].encode(), record["name"].encode()
            collection_tag = mac(key, tag("ATE-collection-v1") + collection)[:8]
            token = mac(key, tag("ATE-name-v1") + parent + with_length(collection) + name)[:16]
            check("collection tag", collection_tag.hex(), record["collection_tag"])
            check("token", token.hex(), record["token"])
            record_key = tagged("ATE-record-v1", parent + collection_tag + token)[:16]
            check("record key", record_key.hex(), record["key"])
            found = self.records[record_key]
            check("version", "{}.{}".format(*found["version"]), record["version"])
            sealed = (bytes.fromhex(record["sealed_scope"]), record["sealed_epoch"])
            check("sealed under", found["sealed"], sealed)
            check("schema", found["schema"].hex(), record["schema_tag"])

    def check_all(self):
        for identity in self.file["identities"]:
            who = bytes.fromhex(identity["who"])
            check("length of a public identity", len(who), WHO_BYTES)
            check("key id", key_id(who).hex(), identity["key_id"])
        self.check_keys()
        commits = iter(self.file["commits"])
        for frame in self.file["frames"]:
            if frame["kind"] == "proof":
                self.proof_frame(frame)
            else:
                self.commit_frame(frame, next(commits))
        check("commits", next(commits, None), None)
        check("every proof is used up", self.expected, [])
        self.check_records()
        if "frames_destroyed" in self.file:
            self.check_destroyed(self.file["frames_destroyed"])
        root = base64.b64encode(merkle_root(self.leaves)).decode()
        body = f"ate/{self.id.hex()}\n{len(self.leaves)}\n{root}\n"
        check("checkpoint", self.file["checkpoint"].split("\n\n")[0] + "\n", body)


def main():
    for path in sorted(HERE.glob("chain-*.json")):
        try:
            Chain(json.loads(path.read_text())).check_all()
        except (ValueError, KeyError, StopIteration, IndexError) as error:
            failures.append(f"{path.name}: {type(error).__name__}: {error}")
    for failure in failures:
        print(failure, file=sys.stderr)
    print("signatures, wraps and ciphers: not checked here, see `cargo test -p ate-chain --test vectors`")
    print(f"{passed} passed, {len(failures)} failed")
    sys.exit(bool(failures) or not passed)


if __name__ == "__main__":
    main()
