//! A node that means harm to those who follow it.

use std::sync::Arc;
use std::time::Duration;

use ate_chain::{Contents, Local};
use ate_net::{Connection, Endpoint, Listener as _, MemoryNetwork, NodeId, Remote};
use serde::Serialize;

use super::common::{client, committer, identity};
use super::raw::{ANSWERS, FRAMES, REPLY, Rig, STANDING, message, read, soon};

#[derive(Serialize)]
enum Say {
    Welcome {
        version: u16,
        note_key: Vec<u8>,
        now_ms: u64,
    },
    #[allow(dead_code, reason = "keeps the place")]
    Found {
        chain: [u8; 32],
    },
    Ready,
}

/// Answers greetings as it should, and every other stream with this.
async fn lie(connection: Arc<dyn Connection>, words: Arc<Vec<Vec<u8>>>) {
    let mut is_first = true;
    while let Ok(mut stream) = connection.accept().await {
        let Ok((_, request)) = read(&mut stream).await else {
            continue;
        };
        if std::mem::take(&mut is_first) {
            let welcome = Say::Welcome {
                version: 1,
                note_key: vec![1; 40],
                now_ms: 0,
            };
            let welcome = postcard::to_stdvec(&welcome).expect("serialises");
            drop(stream.send.write(message(REPLY, &welcome).into()).await);
            drop(stream.send.finish());
            continue;
        }
        let words = words.clone();
        tokio::spawn(async move {
            // 3: it wants to send batches, and is told that it may.
            if request.first() == Some(&3) {
                let ready = postcard::to_stdvec(&Say::Ready).expect("serialises");
                drop(stream.send.write(message(REPLY, &ready).into()).await);
            }
            for word in words.iter() {
                if stream.send.write(word.clone().into()).await.is_err() {
                    return;
                }
            }
            // It ends nothing.
            tokio::time::sleep(Duration::from_secs(3600)).await;
        });
    }
}

/// A replica that follows a node which says this.
fn follow(words: Vec<Vec<u8>>) -> (Arc<Local>, Remote) {
    let network = MemoryNetwork::new();
    let listener = network.listen(NodeId::of_key(b"a liar")).expect("free");
    let endpoint: Endpoint = listener.endpoint();
    let words = Arc::new(words);
    tokio::spawn(async move {
        while let Some(connection) = listener.accept().await {
            tokio::spawn(lie(connection, words.clone()));
        }
    });
    let owner = identity(1);
    let local = Local::create(&committer(1), "notes", &owner).expect("planned");
    let link = client(Arc::new(network.transport()), 1).link(&endpoint);
    let remote = link.follow(&local, Contents::Eager).expect("follows");
    (local, remote)
}

fn standing(size: u64) -> Vec<u8> {
    let standing = (size, [7_u8; 32], 0_u64, Some("not a note".to_owned()));
    message(
        STANDING,
        &postcard::to_stdvec(&standing).expect("serialises"),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lies_is_not_believed_and_takes_nothing_down() {
    let huge = [&u32::MAX.to_le_bytes()[..], &[FRAMES]].concat();
    let half = [&(30_u32 << 20).to_le_bytes()[..], &[FRAMES], &[0; 100_000]].concat();
    let answers = (99_u64, vec![0_u8; 3]);
    let answers = message(ANSWERS, &postcard::to_stdvec(&answers).expect("serialises"));
    let cases = [
        ("garbage", vec![vec![0xee; 10_000]]),
        ("a frame without end", vec![huge]),
        ("half a frame", vec![half]),
        (
            "frames that do not decode",
            vec![message(FRAMES, &[0xff; 5000])],
        ),
        ("no frames", vec![message(FRAMES, b"")]),
        ("an unknown kind", vec![message(200, b"x")]),
        ("answers to nothing", vec![answers]),
        ("a standing of nowhere", vec![standing(u64::MAX)]),
        ("standings without end", vec![standing(5); 20_000]),
        (
            "a standing that does not decode",
            vec![message(STANDING, &[0xff; 40])],
        ),
    ];
    let mut following = Vec::new();
    for (what, words) in cases {
        let (local, remote) = follow(words);
        let owner = identity(1);
        let mut draft = ate_chain::Draft::new(local.author(&owner));
        let define = ate_chain::CreateOptions {
            defines: true,
            ..ate_chain::CreateOptions::default()
        };
        let schema = ate_crypto::sha256(&[b"text"]);
        let root = ate_chain::RecordKey::ROOT;
        draft
            .create(
                root,
                "schema",
                Some("text"),
                &schema,
                b"text".to_vec(),
                define,
            )
            .expect("drafted");
        let answer = local.commit(draft).expect("sealed");
        following.push((what, local, remote, answer));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (what, local, remote, answer) in &following {
        assert_eq!(local.position().0, 0, "{what}: nothing was taken in");
        assert_ne!(local.staged(), [], "{what}: nothing was settled");
        let status = remote.status();
        assert_eq!(status.agreed, 0, "{what}");
        assert_eq!(status.proven, 0, "{what}");
        let _ = answer;
    }
    // The same process goes on with a good node.
    let rig = Rig::memory();
    soon("a good node", rig.serves()).await;
}
