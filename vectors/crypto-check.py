#!/usr/bin/env python3
"""Recomputes vectors/crypto-*.json from docs/format.md, without any ATE code.

    python3 vectors/crypto-check.py           compare, exit 1 on a difference
    python3 vectors/crypto-check.py --write   write the files that are missing

Needs the Python package `cryptography` 47 or newer (ML-DSA, ML-KEM, X25519, Ed25519, AES-GCM, Argon2id).
Signatures and wraps are random: they are checked by verifying and opening what the file holds.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent
SUITE = b"\x01"


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def expand(key, info):
    return mac(key, info + b"\x01")


def tag(text):
    return bytes([len(text)]) + text.encode()


def varint(value):
    out = b""
    while True:
        low, value = value & 0x7F, value >> 7
        out += bytes([low | (0x80 if value else 0)])
        if not value:
            return out


def u32(value):
    return value.to_bytes(4, "little")


def sealed(key, nonce, ad, plaintext):
    return AESGCM(key).encrypt(nonce, plaintext, ad)


def seeded(seed, lengths):
    """The stream of `SeededRandom`, for the files whose randomness is an argument."""
    block, out = 0, []
    for length in lengths:
        count = -(-length // 32)
        stream = b"".join(
            sha256(tag("ATE-seeded-random-v1") + seed.to_bytes(32, "little") + (block + i).to_bytes(8, "little"))
            for i in range(count)
        )
        block += count
        out.append(stream[:length])
    return out


class Identity:
    def __init__(self, seed):
        self.root = mac(b"ATE-identity-v1", seed)
        self.ed = ed25519.Ed25519PrivateKey.from_private_bytes(self.key("sign/ed25519"))
        self.pq = mldsa.MLDSA65PrivateKey.from_seed_bytes(self.key("sign/ml-dsa-65"))
        wide = hashlib.shake_256(self.key("kem/x-wing")).digest(96)
        self.kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(wide[:64])
        self.dh = x25519.X25519PrivateKey.from_private_bytes(wide[64:])
        self.sign_keys = self.raw(self.ed) + self.raw(self.pq)
        self.who = SUITE + self.sign_keys + self.raw(self.kem) + self.raw(self.dh)
        self.id = sha256(tag("ATE-key-v1") + SUITE + self.sign_keys)
        note = (ed25519.Ed25519PrivateKey.from_private_bytes(self.key("note/ed25519")),
                mldsa.MLDSA65PrivateKey.from_seed_bytes(self.key("note/ml-dsa-65")))
        self.note_pair, self.note_keys = note, self.raw(note[0]) + self.raw(note[1])

    def key(self, label):
        return expand(self.root, label.encode())

    @staticmethod
    def raw(private):
        return private.public_key().public_bytes_raw()

    def who_text(self):
        check = sha256(tag("ATE-id-text-v1") + self.who)[:4]
        return "ate-id:" + base64.urlsafe_b64encode(self.who + check).decode().rstrip("=")

    def message(self, purpose, content):
        return b"ATE-sig-v1" + SUITE + bytes([purpose]) + self.id + sha256(content)

    def node_key(self):
        """The prefix of docs/format.md must be what a library writes."""
        public = mldsa.MLDSA65PrivateKey.from_seed_bytes(self.key("net/ml-dsa-65")).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert der == bytes.fromhex("308207b2300b0609608648016503040312038207a100") + public.public_bytes_raw()
        return der

    def sign(self, purpose, content):
        message = self.message(purpose, content)
        return self.ed.sign(message) + self.pq.sign(message)

    def verify(self, purpose, content, signature):
        message = self.message(purpose, content)
        self.ed.public_key().verify(signature[:64], message)
        self.pq.public_key().verify(signature[64:], message)

    def encapsulate(self):
        ss_m, ct_m = self.kem.public_key().encapsulate()
        ephemeral = x25519.X25519PrivateKey.generate()
        ct_x = self.raw(ephemeral)
        return ct_m + ct_x, self.combine(ss_m, ephemeral.exchange(self.dh.public_key()), ct_x)

    def decapsulate(self, ct):
        ct_x = ct[1088:]
        ss_x = self.dh.exchange(x25519.X25519PublicKey.from_public_bytes(ct_x))
        return self.combine(self.kem.decapsulate(ct[:1088]), ss_x, ct_x)

    def combine(self, ss_m, ss_x, ct_x):
        return hashlib.sha3_256(ss_m + ss_x + ct_x + self.raw(self.dh) + b"\\.//^\\").digest()


def identity(old):
    seed = bytes([0x41]) * 32
    who, content = Identity(seed), b"content of a signature"
    signature = bytes.fromhex(old["signature"]) if old else who.sign(1, content)
    who.verify(1, content, signature)
    origin = "ate/" + "ab" * 32
    body = f"{origin}\n7\n{base64.b64encode(sha256(b'root')).decode()}\n"
    note = old["note"] if old else body + "\n" + "".join(
        "\u2014 " + origin + " " + base64.b64encode(note_id(origin, kind, who.raw(key)) + key.sign(body.encode())).decode() + "\n"
        for kind, key in zip((b"\x01", b"\xffate/ml-dsa-65"), who.note_pair))
    text, lines = note.rsplit("\n\n", 1)
    assert text + "\n" == body
    for line, kind, key in zip(lines.splitlines(), (b"\x01", b"\xffate/ml-dsa-65"), who.note_pair, strict=True):
        blob = base64.b64decode(line.split(" ")[2])
        assert blob[:4] == note_id(origin, kind, who.raw(key))
        key.public_key().verify(blob[4:], body.encode())
    return {
        "seed": seed.hex(),
        "key_id": "ate-key:" + who.id.hex(),
        "who": who.who_text(),
        "note_keys_sha256": sha256(who.note_keys).hex(),
        "store_key": who.key("store").hex(),
        "node_id": sha256(tag("ATE-node-v1") + who.node_key()).hex(),
        "content": content.hex(),
        "signature": signature.hex(),
        "note_origin": origin,
        "note": note,
    }


def note_id(origin, kind, key):
    return sha256(origin.encode() + b"\n" + kind + key)[:4]


def derivations(old):
    read, name, new_read = (bytes([b]) * 32 for b in (0x11, 0x12, 0x13))
    salt, chain, author = (bytes([b]) * 32 for b in (0x21, 0x22, 0x23))
    scope, parent, descriptor = bytes([0x31]) * 16, bytes([0x32]) * 16, sha256(b"descriptor")
    collection, record_name, head = "people", "ada", b"an event head"
    collection_tag = mac(name, tag("ATE-collection-v1") + collection.encode())[:8]
    framed = varint(len(collection)) + collection.encode()
    token = mac(name, tag("ATE-name-v1") + parent + framed + record_name.encode())[:16]
    seal_key = expand(read, tag("ATE-seal-v1") + SUITE + salt)

    def part(event, kind, random, plaintext):
        nonce = u32(event) + bytes([kind]) + u32(0) + b"\x01\x00\x00"
        ad = tag("ATE-part-v1") + SUITE + chain + author + salt + u32(event) + bytes([kind]) + head
        return sealed(seal_key, nonce, ad, random + plaintext).hex()

    link_info = tag("ATE-link-v1") + SUITE + chain + scope + u32(2)
    recipient = Identity(bytes([0x42]) * 32)
    wrap_info = tag("ATE-wrap-v1") + SUITE + chain + scope + u32(1) + recipient.id
    if old:
        ct = bytes.fromhex(old["wrap_ct"])
        shared = recipient.decapsulate(ct)
    else:
        ct, shared = recipient.encapsulate()
    wrap_key = expand(mac(b"", shared), wrap_info)
    return {
        "read_key": read.hex(), "name_key": name.hex(), "new_read_key": new_read.hex(),
        "salt": salt.hex(), "chain": chain.hex(), "author": author.hex(), "scope": scope.hex(), "parent": parent.hex(),
        "collection": collection, "name": record_name, "descriptor": descriptor.hex(), "event_head": head.hex(),
        "key_commitment": expand(read, tag("ATE-key-commitment-v1") + SUITE + salt).hex(),
        "scope_commitment": expand(read, tag("ATE-scope-commitment-v1") + SUITE).hex(),
        "collection_tag": collection_tag.hex(),
        "token": token.hex(),
        "schema_tag": mac(name, tag("ATE-schema-v1") + descriptor)[:8].hex(),
        "record_key": sha256(tag("ATE-record-v1") + parent + collection_tag + token)[:16].hex(),
        "sealed_meta_event_5": part(5, 0, bytes([0x51]) * 16, b"meta"),
        "sealed_content_event_5": part(5, 1, bytes([0x52]) * 32, b"content"),
        "link_epoch_2": sealed(expand(new_read, link_info), bytes(12), link_info, read).hex(),
        "wrap_recipient_seed": (bytes([0x42]) * 32).hex(),
        "wrap_ct": ct.hex(),
        "wrap_sealed_epoch_1": sealed(wrap_key, bytes(12), wrap_info, read + name).hex(),
    }


def keystore(_old):
    seed = bytes([0x5A]) * 32
    salt, nonce = seeded(1, [32, 12])
    plain = b"ATE-KEYS\x01\x00" + seed
    plain += sha256(tag("ATE-keystore-v1") + plain)
    passphrase, memory, passes, lanes = "correct horse", 64, 2, 2
    before = b"ATE-KEYS\x01\x01" + u32(memory) + u32(passes) + u32(lanes) + salt + nonce
    key = Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(passphrase.encode())
    return {
        "seed": seed.hex(), "passphrase": passphrase, "plain": plain.hex(),
        "sealed": (before + sealed(key, nonce, tag("ATE-keystore-v1") + before, seed)).hex(),
    }


def sealed_file(_old):
    store, context = bytes([0x61]) * 32, b"context"
    plaintext = bytes(i % 251 for i in range(65536 + 5))
    header = b"ATE-SEAL\x01\x01" + seeded(1, [32])[0]
    bound = header + sha256(context)
    key = expand(store, tag("ATE-sealed-file-v1") + bound)
    file = header
    for number, last in ((0, 0), (1, 1)):
        place = number.to_bytes(8, "little") + bytes([last])
        page = plaintext[number * 65536:][:65536]
        file += sealed(key, place + bytes(3), tag("ATE-sealed-page-v1") + bound + place, page)
    return {
        "store_key": store.hex(), "context": context.hex(), "plaintext_bytes": len(plaintext),
        "header": header.hex(), "last_page": file[-21:].hex(), "file_sha256": sha256(file).hex(),
    }


def x_wing(old):
    assert old, "crypto-x-wing.json holds the vectors of the draft and cannot be computed"
    for case in old["cases"]:
        who = Identity(bytes(32))
        wide = hashlib.shake_256(bytes.fromhex(case["seed"])).digest(96)
        who.kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(wide[:64])
        who.dh = x25519.X25519PrivateKey.from_private_bytes(wide[64:])
        assert (who.raw(who.kem) + who.raw(who.dh)).hex() == case["public"]
        assert who.decapsulate(bytes.fromhex(case["ciphertext"])).hex() == case["shared"]
    return old


class Edwards25519:
    """The curve by its equation, slow and plain: what our Ed25519 verifier accepts, without any library."""

    P = 2**255 - 19
    ORDER = 2**252 + 27742317777372353535851937790883648493
    D = -121665 * pow(121666, -1, P) % P
    IDENTITY = (0, 1)

    @classmethod
    def add(cls, a, b):
        t = cls.D * a[0] * b[0] * a[1] * b[1] % cls.P
        return ((a[0] * b[1] + b[0] * a[1]) * pow(1 + t, -1, cls.P) % cls.P,
                (a[1] * b[1] + a[0] * b[0]) * pow(1 - t, -1, cls.P) % cls.P)

    @classmethod
    def times(cls, scalar, point):
        out = cls.IDENTITY
        while scalar:
            if scalar & 1:
                out = cls.add(out, point)
            point, scalar = cls.add(point, point), scalar >> 1
        return out

    @classmethod
    def encode(cls, point):
        return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")

    @classmethod
    def decode(cls, data):
        """RFC 8032, section 5.1.3: only canonical encodings."""
        value = int.from_bytes(data, "little")
        sign, y = value >> 255, value & (1 << 255) - 1
        if y >= cls.P:
            return None
        square = (y * y - 1) * pow(cls.D * y * y + 1, -1, cls.P) % cls.P
        x = pow(square, (cls.P + 3) // 8, cls.P)
        if (x * x - square) % cls.P:
            x = x * pow(2, (cls.P - 1) // 4, cls.P) % cls.P
        if (x * x - square) % cls.P or (x == 0 and sign):
            return None
        return (x if x & 1 == sign else cls.P - x, y)

    @classmethod
    def verify(cls, key, message, signature):
        """S below the order, A canonical, R equal as bytes to the encoding of [S]B - [k]A: no cofactor."""
        r, s, a = signature[:32], int.from_bytes(signature[32:], "little"), cls.decode(key)
        if s >= cls.ORDER or a is None:
            return False
        base = cls.decode((4 * pow(5, -1, cls.P) % cls.P).to_bytes(32, "little"))
        k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % cls.ORDER
        return cls.encode(cls.add(cls.times(s, base), cls.times(k, (-a[0] % cls.P, a[1])))) == r


def ed25519_edges(old):
    assert old, "crypto-ed25519-edges.json holds published cases and cannot be computed"
    curve = Edwards25519
    for case in old["cases"]:
        key, message, signature = (bytes.fromhex(case[name]) for name in ("key", "message", "signature"))
        assert curve.verify(key, message, signature) == case["accepted"], case["about"]
    points = [bytes.fromhex(point) for point in old["points"]]
    decoded = [curve.decode(point) for point in points]
    assert len(set(points)) == 14 and decoded[8:] == [None] * 6
    assert len(set(decoded[:8])) == 8 and all(curve.times(8, point) == curve.IDENTITY for point in decoded[:8])
    accepted = [[a, r] for a, key in enumerate(points) for r, point in enumerate(points)
                if curve.verify(key, b"ATE", point + bytes(32))]
    return {**old, "accepted": accepted}


def main():
    failed = False
    for name, compute in (("identity", identity), ("derivations", derivations), ("keystore", keystore),
                          ("sealed-file", sealed_file), ("x-wing", x_wing),
                          ("ed25519-edges", ed25519_edges)):
        path = HERE / f"crypto-{name}.json"
        old = json.loads(path.read_text()) if path.exists() else None
        new = compute(old)
        if old is None and "--write" in sys.argv:
            path.write_text(json.dumps(new, indent=1, ensure_ascii=False) + "\n")
        elif new != old:
            failed = True
            print(f"{path.name}: differs")
        else:
            print(f"{path.name}: ok")
    sys.exit(failed)


if __name__ == "__main__":
    main()
