//! The files in `vectors/` through the public API alone. Another program computed them from docs/format.md
//! (`vectors/crypto-check.py`), so agreement means that the document is enough to read our bytes.

use ate_crypto::{
    Hash, Identity, KeyId, LinkInfo, NameKey, NoteVerifier, Part, PartAt, PartContext, Purpose,
    ReadKey, Salt, Seed, SeededRandom, Signature, StoreKey, Who, WrapInfo, record_key, sealed_file,
    sha256,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

struct File(serde_json::Value);

impl File {
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text).map(Self)
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_default()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        let digits = self.text(name).as_bytes();
        assert!(!digits.is_empty(), "{name} is in the file");
        let value = |digit: u8| (digit as char).to_digit(16).unwrap_or(u32::MAX) as u8;
        digits
            .chunks_exact(2)
            .map(|pair| value(pair[0]) << 4 | value(pair[1]))
            .collect()
    }

    fn array<const N: usize>(&self, name: &str) -> Result<[u8; N], Box<dyn std::error::Error>> {
        self.bytes(name)
            .try_into()
            .map_err(|_| format!("{name} has another length").into())
    }
}

#[test]
fn identities_signatures_and_notes() -> Outcome {
    let file = File::read(include_str!("../../vectors/crypto-identity.json"))?;
    let identity = Identity::from_seed(&Seed::from_bytes(file.array("seed")?));
    assert_eq!(identity.id().to_string(), file.text("key_id"));
    assert_eq!(identity.who().to_string(), file.text("who"));
    assert_eq!(file.text("who").parse::<Who>()?, *identity.who());
    assert_eq!(*identity.store_key().expose(), file.array("store_key")?);
    let node = ate_crypto::tagged("ATE-node-v1", &[identity.node_key().public_bytes()]);
    assert_eq!(node.0, file.array("node_id")?);
    let note_keys = identity.note_keys().public_bytes();
    assert_eq!(
        sha256(&[&note_keys]).to_string(),
        file.text("note_keys_sha256")
    );

    let signature = Signature::from_slice(&file.bytes("signature"))?;
    identity
        .who()
        .verify(Purpose::Batch, &file.bytes("content"), &signature)?;
    // The classical half is deterministic (RFC 8032); the other one is hedged and can only be verified.
    let again = identity.sign(Purpose::Batch, &file.bytes("content"));
    assert_eq!(again.as_bytes()[..64], signature.as_bytes()[..64]);
    let verifier = NoteVerifier::from_bytes(&note_keys)?;
    let body = verifier.verify_note(file.text("note"), file.text("note_origin"))?;
    assert!(body.starts_with(file.text("note_origin")) && body.contains("\n7\n"));
    Ok(())
}

#[test]
fn derivations_seals_links_and_wraps() -> Outcome {
    let file = File::read(include_str!("../../vectors/crypto-derivations.json"))?;
    let read = ReadKey::from_bytes(file.array("read_key")?);
    let name = NameKey::from_bytes(file.array("name_key")?);
    let (salt, chain, author) = (
        Salt(file.array("salt")?),
        Hash(file.array("chain")?),
        KeyId(file.array("author")?),
    );
    let (scope, parent) = (file.array("scope")?, file.array("parent")?);
    assert_eq!(read.commitment(&salt), Hash(file.array("key_commitment")?));
    assert_eq!(
        read.scope_commitment(),
        Hash(file.array("scope_commitment")?)
    );
    let collection_tag = name.collection_tag(file.text("collection"));
    let token = name.token(&parent, file.text("collection"), file.text("name"));
    assert_eq!(collection_tag, file.array("collection_tag")?);
    assert_eq!(token, file.array("token")?);
    assert_eq!(
        name.schema_tag(&Hash(file.array("descriptor")?)),
        file.array("schema_tag")?
    );
    assert_eq!(
        record_key(&parent, &collection_tag, &token),
        file.array("record_key")?
    );

    let context = PartContext {
        chain: &chain,
        author: &author,
        salt: &salt,
    };
    let key = read.seal_key(&salt);
    for (part, field, random, plaintext) in [
        (
            Part::Meta,
            "sealed_meta_event_5",
            &[0x51; 16][..],
            &b"meta"[..],
        ),
        (
            Part::Content,
            "sealed_content_event_5",
            &[0x52; 32],
            b"content",
        ),
    ] {
        let at = PartAt { event: 5, part };
        let (mut ad, mut sealed) = (Vec::new(), Vec::new());
        context.ad(at, &file.bytes("event_head"), &mut ad);
        key.seal(at, &ad, random, plaintext, &mut sealed);
        assert_eq!(sealed, file.bytes(field));
        assert_eq!(key.open(at, &ad, &mut sealed)?, plaintext);
    }

    let new = ReadKey::from_bytes(file.array("new_read_key")?);
    let link = LinkInfo {
        chain: &chain,
        scope: &scope,
        epoch: 2,
    };
    assert_eq!(new.link_seal(&link, &read), file.array("link_epoch_2")?);
    assert!(new.link_open(&link, &file.bytes("link_epoch_2"))? == read);

    let recipient = Identity::from_seed(&Seed::from_bytes(file.array("wrap_recipient_seed")?));
    let recipient_id = recipient.id();
    let info = WrapInfo {
        chain: &chain,
        scope: &scope,
        epoch: 1,
        recipient: &recipient_id,
    };
    let opened = recipient.unwrap_keys(
        &info,
        &file.bytes("wrap_ct"),
        &file.bytes("wrap_sealed_epoch_1"),
    )?;
    assert!(opened.0 == read && opened.1 == name);
    Ok(())
}

#[test]
fn sealed_files() -> Outcome {
    let file = File::read(include_str!("../../vectors/crypto-sealed-file.json"))?;
    let plaintext: Vec<u8> = (0..file.0["plaintext_bytes"].as_u64().unwrap_or_default())
        .map(|at| (at % 251) as u8)
        .collect();
    let key = StoreKey::from_bytes(file.array("store_key")?);
    let sealed = sealed_file::seal(
        &key,
        &file.bytes("context"),
        &SeededRandom::new(1),
        &plaintext,
    );
    assert_eq!(sealed[..sealed_file::HEADER_BYTES], file.bytes("header"));
    assert!(sealed.ends_with(&file.bytes("last_page")));
    assert_eq!(sha256(&[&sealed]).to_string(), file.text("file_sha256"));
    assert_eq!(
        sealed_file::open(&key, &file.bytes("context"), &sealed)?,
        plaintext
    );
    Ok(())
}
