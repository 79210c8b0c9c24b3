//! The messages of `vectors/protocol.json`, which `vectors/check.py` encodes from docs/protocol.md alone, have these bytes here too; others are refused.
#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test fails as the test does"
)]

use std::fmt::Debug;
use std::sync::Arc;

use ate_crypto::{Hash, Purpose, Signature, Who};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::*;
use crate::address::{ChainAddress, NodeAddress};
use crate::framed::FrameWriter;
use crate::node_id::NodeId;
use crate::transport::{ReceiveHalf, SendHalf, Stream, Task, TransportError};

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../vectors/protocol.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    digits
        .map(|two| u8::from_str_radix(two, 16).unwrap())
        .collect()
}

/// Long lists of bytes as hex, as the file has them.
fn in_hex(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let bytes: Option<Vec<u64>> = items.iter().map(Value::as_u64).collect();
            match bytes {
                Some(bytes) if bytes.len() >= 16 => {
                    Value::String(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
                }
                _ => items.into_iter().map(in_hex).collect(),
            }
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields.map(|(name, value)| (name, in_hex(value))).collect()
        }
        other => other,
    }
}

/// The bytes are this message and nothing else; cut or longer they are none.
fn check<T: Serialize + DeserializeOwned>(payload: &[u8], fields: &Value) {
    let message: T = decode(payload).unwrap();
    assert_eq!(encode(&message), payload);
    assert_eq!(in_hex(serde_json::to_value(&message).unwrap()), *fields);
    for length in 0..payload.len() {
        assert!(decode::<T>(&payload[..length]).is_err(), "{length}");
    }
    let mut longer = payload.to_vec();
    longer.push(0);
    assert!(decode::<T>(&longer).is_err());
}

/// Takes what is written.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl SendHalf for Paper {
    fn write(&mut self, bytes: Bytes) -> Task<'_, Result<(), TransportError>> {
        self.0.lock().extend_from_slice(&bytes);
        Box::pin(std::future::ready(Ok(())))
    }

    fn finish(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn reset(&mut self, _: u32) {}
}

/// Gives out bytes, a few at a time.
struct Tape(Bytes);

impl ReceiveHalf for Tape {
    fn read(&mut self, max: usize) -> Task<'_, Result<Option<Bytes>, TransportError>> {
        let some = self.0.split_to(self.0.len().min(max).min(7));
        Box::pin(std::future::ready(Ok((!some.is_empty()).then_some(some))))
    }

    fn stop(&mut self, _: u32) {}
}

fn stream(tape: &[u8]) -> (Paper, Stream) {
    let paper = Paper::default();
    let stream = Stream {
        send: Box::new(paper.clone()),
        receive: Box::new(Tape(Bytes::copy_from_slice(tape))),
    };
    (paper, stream)
}

#[test]
fn every_message_has_the_bytes_of_the_vectors() {
    let vectors = vectors();
    let mut kinds = std::collections::BTreeSet::new();
    for message in list(&vectors["messages"]) {
        let (payload, fields) = (bytes(&message["payload"]), &message["fields"]);
        let kind = Kind::from_byte(u8::try_from(message["kind"].as_u64().unwrap()).unwrap());
        kinds.insert(kind.unwrap() as u8);
        match kind.unwrap() {
            Kind::Request => check::<Request>(&payload, fields),
            Kind::Reply => check::<Reply>(&payload, fields),
            Kind::Standing => check::<Standing>(&payload, fields),
            Kind::Answers => check::<Answers>(&payload, fields),
            Kind::Refused => check::<Refusal>(&payload, fields),
            // Their payloads are formats of the chain and of calls: see the tests of those.
            _ => {}
        }
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7, 8, 9]
    );
}

#[tokio::test]
async fn messages_are_framed_and_read_as_the_vectors_say() {
    for message in list(&vectors()["messages"]) {
        let kind = Kind::from_byte(u8::try_from(message["kind"].as_u64().unwrap()).unwrap());
        let (payload, framed_bytes) = (bytes(&message["payload"]), bytes(&message["message"]));
        let (paper, stream) = stream(&framed_bytes);
        let (mut writer, mut reader): (FrameWriter, _) = crate::framed::framed(stream);
        writer.send(kind.unwrap(), &payload).await.unwrap();
        assert_eq!(*paper.0.lock(), framed_bytes);
        match reader.next(payload.len()).await {
            Ok(Some(read)) => assert_eq!(read, (kind.unwrap(), payload.into())),
            Err(NetError::Refused { .. }) => assert_eq!(kind, Some(Kind::Refused)),
            other => panic!("{other:?}"),
        }
        assert!(reader.next(0).await.unwrap().is_none(), "the clean end");
    }
}

#[tokio::test]
async fn messages_that_are_too_long_cut_or_of_an_unknown_kind_are_refused() {
    let refused = async |tape: &[u8]| {
        let (_, stream) = stream(tape);
        let (_writer, mut reader) = crate::framed::framed(stream);
        reader.next(4).await.unwrap_err().to_string()
    };
    assert!(refused(&[5, 0, 0, 0, 1]).await.contains('5'));
    assert!(refused(&[0, 0, 0, 0, 0]).await.contains("unknown kind"));
    assert!(refused(&[0, 0, 0, 0, 200]).await.contains("unknown kind"));
    assert!(refused(&[4, 0, 0, 0, 1, 9]).await.contains("within"));
    assert!(refused(&[4, 0, 0]).await.contains("within"));
}

#[test]
fn a_hello_is_signed_for_one_connection_to_one_node() {
    let vectors = vectors();
    let (hello, node) = (&vectors["hello"], &vectors["node"]);
    let spki = bytes(&node["spki"]);
    let id = NodeId::of_key(&spki);
    assert_eq!(id.0.0.to_vec(), bytes(&node["id"]));
    let binding: [u8; 32] = bytes(&hello["binding"]).try_into().unwrap();
    let content = channel_content(&binding, &id.0);
    assert_eq!(content.to_vec(), bytes(&hello["content"]));
    let Ok(Request::Hello(said)) = decode(&bytes(&list(&vectors["messages"])[0]["payload"])) else {
        panic!("the first message is a Hello");
    };
    let who = Who::from_bytes(&said.who).unwrap();
    let signature = Signature::from_slice(&said.signature).unwrap();
    who.verify(Purpose::Channel, &content, &signature).unwrap();
    assert!(who.verify(Purpose::Call, &content, &signature).is_err());
    for index in 0..content.len() {
        let mut other = content;
        other[index] ^= 1;
        let verified = who.verify(Purpose::Channel, &other, &signature);
        assert!(verified.is_err(), "{index}");
    }
}

#[test]
fn a_hello_of_a_later_version_is_known_as_one() {
    let vectors = vectors();
    let payload = bytes(&list(&vectors["messages"])[0]["payload"]);
    assert_eq!(hello_version(&payload), Some(PROTOCOL_VERSION));
    assert_eq!(hello_version(&[0, 2, 77, 78, 79]), Some(2));
    assert_eq!(hello_version(&[0, 0x80, 0x02, 1]), Some(256));
    assert_eq!(hello_version(&[6]), None, "a Ping is no Hello");
    assert_eq!(hello_version(&[]), None);
}

#[test]
fn a_refusal_of_an_unknown_code_is_a_failure() {
    let said: Refusal = decode(&[200, 1, 3, b'w', b'h', b'y']).unwrap();
    assert_eq!(said.code, RefusalCode::Failed);
    for code in 0..8 {
        assert_eq!(u32::from(RefusalCode::from(code)), code);
        assert_eq!(encode(&RefusalCode::from(code)), [code as u8]);
    }
}

#[test]
fn tags_that_no_message_has_are_refused() {
    fn none<T: DeserializeOwned + Debug>(tag: u8) {
        let mut payload = vec![tag];
        payload.extend([0; 128]);
        assert!(postcard::take_from_bytes::<T>(&payload).is_err(), "{tag}");
    }
    none::<WireReject>(10);
    none::<WireAnswer>(3);
    none::<WireRef>(3);
}

#[test]
fn addresses_are_read_and_printed_as_the_vectors_say() {
    let vectors = vectors();
    let part = |value: Option<String>| value.map_or(Value::Null, Value::String);
    for good in list(&vectors["addresses"]["nodes"]) {
        let text = good["text"].as_str().unwrap();
        let address: NodeAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), good["printed"].as_str().unwrap());
        assert_eq!(address.host(), good["host"].as_str().unwrap());
        assert_eq!(u64::from(address.port()), good["port"].as_u64().unwrap());
        let node = address.node().map(|node| node.to_string());
        assert_eq!(part(node), good["node"]);
    }
    for good in list(&vectors["addresses"]["chains"]) {
        let text = good["text"].as_str().unwrap();
        let address: ChainAddress = text.parse().unwrap();
        assert_eq!(address.to_string(), good["printed"].as_str().unwrap());
        assert_eq!(address.name(), good["name"].as_str().unwrap());
        let root = address.root().map(|root| Hash(root.0).to_string());
        assert_eq!(part(root), good["root"]);
        assert_eq!(part(address.id().map(|id| id.to_string())), good["id"]);
    }
    for text in list(&vectors["addresses"]["refused"]) {
        let text = text.as_str().unwrap();
        assert!(text.parse::<ChainAddress>().is_err(), "{text}");
    }
}
