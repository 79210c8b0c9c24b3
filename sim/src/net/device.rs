//! A device: a client with replicas in a store of its own, which reads and writes for one identity.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use ate::chain::{
    ChainId, Clock, CommitOutcome, Committed, ContentId, Contents, CreateOptions, Draft, Local,
    OpenError, Pending, ReadError, Readers, RecordKey, Ref, Reject, SubmitError, WritePolicy,
};
use ate::crypto::{Hash, Identity, KeyId, sha256};
use ate::log::Loss;
use ate_net::{
    Client, Connection, Endpoint, Evidence, Kept, Link, NodeId, Notebook, Remote, SimNetwork, Task,
    Transport, TransportError,
};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::ledger::{Change, Founded, Handed, Ledger};
use super::machine::Machine;
use super::run::{Broken, Outcome};

/// What a device keeps of its node, on a disk that never fails.
#[derive(Default)]
pub(super) struct Notes(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    kept: BTreeMap<(Hash, NodeId), Kept>,
    accusations: Vec<(Hash, String)>,
}

impl Notes {
    /// What the node was accused of in a chain.
    pub(super) fn accusations(&self, chain: ChainId) -> Vec<String> {
        let noted = self.0.lock();
        let of_chain = noted.accusations.iter().filter(|(of, _)| *of == chain.0);
        of_chain.map(|(_, what)| what.clone()).collect()
    }
}

impl Notebook for Notes {
    fn kept(&self, chain: &ChainId, node: &NodeId) -> Option<Kept> {
        self.0.lock().kept.get(&(chain.0, *node)).cloned()
    }

    fn keep(&self, chain: &ChainId, node: &NodeId, kept: &Kept) {
        self.0.lock().kept.insert((chain.0, *node), kept.clone());
    }

    fn accuse(&self, chain: &ChainId, _: &NodeId, evidence: &Evidence) {
        let accusation = (chain.0, evidence.what.clone());
        self.0.lock().accusations.push(accusation);
    }
}

/// A chain on a device.
pub(super) struct Replica {
    pub(super) local: Arc<Local>,
    pub(super) remote: Remote,
}

pub(super) struct Device {
    pub(super) index: usize,
    pub(super) machine: Machine,
    pub(super) identity: Identity,
    pub(super) notes: Arc<Notes>,
    /// Chains that it follows when it runs.
    pub(super) joined: BTreeMap<usize, Contents>,
    pub(super) replicas: BTreeMap<usize, Replica>,
    link: Option<Arc<Link>>,
    callers: JoinSet<()>,
    ledger: Arc<Mutex<Ledger>>,
}

/// How a record stands for whoever wants to change it.
struct Standing {
    at: Ref,
    is_live: bool,
}

fn schema() -> Hash {
    sha256(&[b"note"])
}

fn defines() -> CreateOptions {
    CreateOptions {
        defines: true,
        ..CreateOptions::default()
    }
}

impl Device {
    pub(super) fn new(
        index: usize,
        machine: Machine,
        identity: Identity,
        ledger: Arc<Mutex<Ledger>>,
    ) -> Self {
        Self {
            index,
            machine,
            identity,
            notes: Arc::default(),
            joined: BTreeMap::new(),
            replicas: BTreeMap::new(),
            link: None,
            callers: JoinSet::new(),
            ledger,
        }
    }

    /// Boots, dials, and follows what it has joined.
    pub(super) fn start(&mut self, transport: Arc<dyn Transport>, to: &Endpoint) -> Outcome {
        self.machine.boot()?;
        let transport = Dialling {
            inner: transport,
            device: self.index,
            ledger: self.ledger.clone(),
        };
        let client = Client::new(
            Arc::new(transport),
            self.identity.clone(),
            self.machine.random(),
            self.notes.clone(),
        );
        let client = client.map_err(|error| Broken::of("the harness", error.to_string()))?;
        self.link = Some(client.link(to));
        let joined: Vec<_> = self.joined.iter().map(|(&at, &how)| (at, how)).collect();
        for (chain, contents) in joined {
            let id = self.ledger.lock().chains[chain].chain;
            let local = Local::at(self.machine.committer(), id, None);
            match local.load() {
                Ok(()) | Err(OpenError::NotFound { .. }) => {}
                Err(error) => {
                    let what = format!("{}: {error:?}", self.machine.name);
                    return Err(Broken::of("no false damage", what));
                }
            }
            self.follow(chain, local, contents)?;
            self.nothing_staged_is_lost(chain)?;
        }
        Ok(())
    }

    fn follow(&mut self, chain: usize, local: Arc<Local>, contents: Contents) -> Outcome {
        let link = self.link.as_ref().expect("it runs");
        let remote = link
            .follow(&local, contents)
            .map_err(|error| Broken::of("no false damage", format!("{error:?}")))?;
        let replica = Replica { local, remote };
        self.replicas.insert(chain, replica);
        Ok(())
    }

    /// Becomes a replica of a chain that somebody has founded.
    pub(super) fn join(&mut self, chain: usize, contents: Contents) -> Outcome {
        let id = self.ledger.lock().chains[chain].chain;
        let local = Local::at(self.machine.committer(), id, None);
        self.joined.insert(chain, contents);
        self.follow(chain, local, contents)
    }

    /// Founds a chain on which `others` write too, and whose checkpoints are signed by `note_key`. It is staged durably: a founder that loses it founds another one.
    pub(super) fn found(
        &mut self,
        name: &str,
        others: &[&Identity],
        note_key: Option<&[u8]>,
    ) -> Outcome<usize> {
        let fail = |what: String| Broken::of("the harness", what);
        let committer = self.machine.committer();
        let local = Local::create_ordered_by(committer, name, &self.identity, note_key)
            .map_err(|error| fail(error.to_string()))?;
        let chain = {
            let mut ledger = self.ledger.lock();
            ledger.chains.push(Founded {
                chain: local.chain(),
                shared: RecordKey::ROOT,
            });
            ledger.chains.len() - 1
        };
        self.joined.insert(chain, Contents::Eager);
        self.follow(chain, local.clone(), Contents::Eager)?;
        let (shared, draft) = self.first(&local, others).map_err(fail)?;
        self.ledger.lock().chains[chain].shared = shared;
        self.hand_over(chain, draft, Change::Beside, Ref::Absent)?;
        local
            .sync_staged()
            .map_err(|error| Broken::of("the harness", error.to_string()))?;
        Ok(chain)
    }

    /// The first commit of a chain: who may write, and where.
    fn first(
        &self,
        local: &Arc<Local>,
        others: &[&Identity],
    ) -> Result<(RecordKey, Draft), String> {
        let mut draft = Draft::new(local.author(&self.identity));
        let root = RecordKey::ROOT;
        let text = |error: ate::chain::SealError| error.to_string();
        let body = || b"note".to_vec();
        draft
            .create(root, "schema", Some("note"), &schema(), body(), defines())
            .map_err(text)?;
        let writers: Vec<KeyId> = others.iter().map(|other| other.id()).collect();
        others
            .iter()
            .for_each(|other| draft.introduce(other.who().clone()));
        let readers = others.iter().map(|other| other.who().clone()).collect();
        let options = CreateOptions {
            write: Some(WritePolicy::any_of(
                writers.into_iter().chain([self.identity.id()]),
            )),
            readers: Some(Readers::Only(readers)),
            ..CreateOptions::default()
        };
        let shared = draft
            .create(root, "notes", Some("shared"), &schema(), body(), options)
            .map_err(text)?;
        draft
            .create(shared, "schema", Some("note"), &schema(), body(), defines())
            .map_err(text)?;
        Ok((shared, draft))
    }

    /// Changes a note, or makes it. Whoever does not have the keys yet does nothing.
    pub(super) fn change(&mut self, chain: usize, change: Change) -> Outcome<bool> {
        let Some(replica) = self.replicas.get(&chain) else {
            return Ok(false);
        };
        let shared = self.ledger.lock().chains[chain].shared;
        let local = replica.local.clone();
        let author = local.author(&self.identity);
        let (Change::Put(name, _) | Change::Remove(name)) = &change else {
            return Ok(false);
        };
        let Ok(key) = author.named_key(&shared, "notes", name) else {
            return Ok(false);
        };
        let standing = self.standing(chain, &key);
        let mut draft = Draft::new(author);
        let drafted = match &change {
            Change::Put(_, text) if standing.is_live => {
                draft.update(key, standing.at, &schema(), text.clone().into(), None, None)
            }
            Change::Put(name, text) => {
                let options = CreateOptions {
                    supersedes: standing.at,
                    ..CreateOptions::default()
                };
                let text = text.clone().into();
                draft
                    .create(shared, "notes", Some(name), &schema(), text, options)
                    .map(drop)
            }
            _ if standing.is_live => {
                draft.remove(key, standing.at);
                Ok(())
            }
            _ => return Ok(false),
        };
        if drafted.is_err() {
            return Ok(false);
        }
        self.hand_over(chain, draft, change, standing.at)
    }

    /// What the device knows of a record, its own staged changes included.
    fn standing(&self, chain: usize, key: &RecordKey) -> Standing {
        let replica = &self.replicas[&chain];
        match replica.local.record(key) {
            Some(info) => Standing {
                at: info.version.reference(),
                is_live: info.live,
            },
            None => Standing {
                at: Ref::Absent,
                is_live: false,
            },
        }
    }

    /// Commits, and lets somebody wait for the answer. Whether the own state takes it.
    fn hand_over(
        &mut self,
        chain: usize,
        draft: Draft,
        change: Change,
        base: Ref,
    ) -> Outcome<bool> {
        let local = &self.replicas[&chain].local;
        let mut commit = Commit {
            local: Arc::downgrade(local),
            ledger: self.ledger.clone(),
            clock: self.machine.clock(),
            draft,
            handed: Handed {
                chain,
                device: self.index,
                change,
                base,
                seen: 0,
            },
        };
        let Some(submitted) = commit.submit(None) else {
            return Ok(false);
        };
        self.callers.spawn(commit.see_through(submitted));
        Ok(true)
    }

    /// Reads a note, fetching it if it is elsewhere; `None` if it is not there, or cannot be read now.
    pub(super) async fn read(&self, chain: usize, name: &str) -> Outcome<Option<String>> {
        let replica = self.replicas.get(&chain);
        let Some(replica) = replica.filter(|_| !self.machine.has_fallen()) else {
            return Ok(None);
        };
        let shared = self.ledger.lock().chains[chain].shared;
        let local = &replica.local;
        let author = local.author(&self.identity);
        let Ok(key) = author.named_key(&shared, "notes", name) else {
            return Ok(None);
        };
        for _ in 0..4 {
            match local.open_content(&author, &key) {
                Ok(opened) => return Ok(String::from_utf8(opened.content).ok()),
                Err(ReadError::Elsewhere { content, .. }) => {
                    if !self.fetch(local, content).await {
                        return Ok(None);
                    }
                }
                Err(ReadError::Damaged { why, .. }) => {
                    let what = format!("{}: {name}: {why}", self.machine.name);
                    return Err(Broken::of("no false content", what));
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn fetch(&self, local: &Arc<Local>, content: ContentId) -> bool {
        let fetch = local.fetch(vec![content]);
        let fetched = tokio::time::timeout(Duration::from_secs(20), fetch).await;
        matches!(fetched, Ok(Ok(())))
    }

    /// Notes what is on the disk by now.
    pub(super) fn look_at_staged(&self) {
        let mut ledger = self.ledger.lock();
        for replica in self.replicas.values() {
            for staged in replica.local.staged() {
                if let Some(entry) = ledger.commits.get_mut(&staged.id) {
                    entry.is_durable |= staged.is_durable;
                }
            }
        }
    }

    /// After an opening: what was staged durably is staged still, or stands in the chain, or was refused.
    fn nothing_staged_is_lost(&self, chain: usize) -> Outcome {
        let local = &self.replicas[&chain].local;
        let ledger = self.ledger.lock();
        for (id, entry) in &ledger.commits {
            let is_meant = entry.device == self.index && entry.chain == chain && entry.is_durable;
            if is_meant && entry.told.is_none() && local.outcome(id) == CommitOutcome::Unknown {
                let what = format!("{}: commit {id} was on the disk", self.machine.name);
                return Err(Broken::of("staged", what));
            }
        }
        Ok(())
    }

    fn let_go(&mut self) {
        self.look_at_staged();
        self.callers.abort_all();
        self.ledger.lock().forget_callers(self.index);
        self.replicas.clear();
        self.link = None;
    }

    /// The machine loses its power.
    pub(super) async fn crash(&mut self, network: &SimNetwork, loss: Loss) {
        self.machine.storage.kill();
        network.crash(&self.machine.name);
        self.let_go();
        self.ledger.lock().lose_power(self.index);
        self.machine.lose_power(loss);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    /// Ends in order.
    pub(super) async fn stop(&mut self) -> Outcome {
        self.let_go();
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.machine.switch_off()
    }
}

/// Notes the connections that a device opens.
struct Dialling {
    inner: Arc<dyn Transport>,
    device: usize,
    ledger: Arc<Mutex<Ledger>>,
}

impl Transport for Dialling {
    fn connect<'a>(
        &'a self,
        to: &'a Endpoint,
    ) -> Task<'a, Result<Arc<dyn Connection>, TransportError>> {
        self.ledger.lock().connect(self.device);
        self.inner.connect(to)
    }
}

/// A commit on its way, as whoever waits for it holds it.
struct Commit {
    local: Weak<Local>,
    ledger: Arc<Mutex<Ledger>>,
    clock: Arc<dyn Clock>,
    draft: Draft,
    handed: Handed,
}

/// Its id, and the answer to come.
type Submitted = (Hash, Pending<Result<Committed, SubmitError>>);

impl Commit {
    /// Hands it over, in the place of one that was refused if it is meant so; `None` if the own state refuses it, or the log does: nobody else ever hears of it.
    fn submit(&mut self, replaces: Option<Hash>) -> Option<Submitted> {
        let local = self.local.upgrade()?;
        let before: Vec<Hash> = local.staged().iter().map(|staged| staged.id).collect();
        let sealed = self.draft.seal_again(self.clock.now_ms()).ok()?;
        let seen = local.position().0;
        // Whoever can tell a commit's id finds out what became of it after a crash too.
        let answer = local.submit_staged(sealed, replaces).outcome;
        let staged = local.staged();
        let new: Vec<_> = staged
            .iter()
            .filter(|staged| !before.contains(&staged.id))
            .collect();
        let (last, first) = new.split_last()?;
        let mut ledger = self.ledger.lock();
        let handed = Handed {
            seen,
            ..self.handed.clone()
        };
        for genesis in first {
            let handed = Handed {
                change: Change::Beside,
                base: Ref::Absent,
                ..handed
            };
            ledger.stage(genesis, handed, false);
        }
        ledger.stage(last, handed, true);
        Some((last.id, answer))
    }

    /// Waits for the answer. What its lane has passed over, or left behind, is dead, and is written again, as clients do.
    async fn see_through(mut self, submitted: Submitted) {
        let mut submitted = Some(submitted);
        while let Some((id, answer)) = submitted.take() {
            let answer = answer.await;
            let seen = self.local.upgrade();
            {
                let mut ledger = self.ledger.lock();
                if let (Ok(committed), Some(local)) = (&answer, seen)
                    && local.outcome(&id) != CommitOutcome::Committed(*committed)
                {
                    let what = format!("commit {id} was answered and is not at {}", committed.seq);
                    ledger.broken.get_or_insert(("visible", what));
                }
                ledger.answer(&id, &answer);
            }
            if let Err(SubmitError::Rejected(Reject::Spent { .. } | Reject::Behind { .. })) = answer
            {
                submitted = self.submit(Some(id));
            }
        }
    }
}
