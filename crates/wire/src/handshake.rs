//! This file answers: who is at the other end, and does it hold the secret?
//!
//! ```text
//! dialler                                   acceptor
//! Hello (who I am, nonce)            ->
//!                                    <-     Challenge (who I am, nonce)
//! Proof (MAC "dialler")              ->
//!                                    <-     Accept (MAC "acceptor")
//! ```
//!
//! Either may say Refuse instead, with the reason, and that is the end. The dialler proves first: whoever merely
//! connects learns nothing that a guess at the secret could be tried on.
//!
//! A MAC is keyed BLAKE3 of its direction and of a digest over both opening messages *as they travelled*: names,
//! roles, versions, both nonces, and fields that only a later version knows. A proof sent back to its maker names the
//! wrong direction; one recorded before names other nonces. Peers prove `cluster.secret`, clients
//! `cluster.client_secret`; the two keys differ even where the secrets do not. Without a secret both ends prove the
//! same well-known key and insist on a loopback address.
//!
//! Absent: secrecy and integrity of what follows. This keeps strangers and misconfigured nodes out; a network where
//! others can read or change packets needs a tunnel.
//!
//! Pure: nonces and the remote address's nature come in, bytes go out.

use std::fmt;

use rkv_ring::{Incarnation, NodeName};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::codec::read_header;
use crate::message::Lane;

/// The oldest conversation that this build holds.
pub const PROTOCOL_MIN: u16 = 1;
/// The newest.
pub const PROTOCOL_MAX: u16 = 1;
/// Longest name, cluster name or address in a Hello.
pub const MAX_TEXT: usize = 255;

/// In what capacity one speaks to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// A node.
    Peer,
    /// A client: may send requests and pull the ring, nothing else. Its connection sees to that.
    Client,
}

impl Role {
    /// The configuration key of the secret that it proves.
    pub fn secret_key(self) -> &'static str {
        match self {
            Role::Peer => "cluster.secret",
            Role::Client => "cluster.client_secret",
        }
    }
}

/// What a connection is for; the dialler decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Messages of [`Lane::Requests`].
    Requests,
    /// Messages of [`Lane::Bulk`].
    Bulk,
    /// To learn who is there; closed when that is known.
    Probe,
}

impl From<Lane> for Purpose {
    fn from(lane: Lane) -> Purpose {
        match lane {
            Lane::Requests => Purpose::Requests,
            Lane::Bulk => Purpose::Bulk,
        }
    }
}

/// Who one is, as told to the other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's name. A client's is free; the acceptor makes it unique.
    pub name: NodeName,
    /// The life of the data folder.
    pub incarnation: Incarnation,
    /// How often that folder was started.
    pub boot: u64,
    /// Node or client.
    pub role: Role,
    /// Where it accepts peers, as advertised; empty for a client.
    pub address: String,
    /// The cluster's name, for information: a wrong one is refused by those who talk about joining.
    pub cluster: String,
    /// Oldest and newest protocol version that it speaks.
    pub protocol: (u16, u16),
}

/// Who is at the other end: proved for its role, otherwise as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its name.
    pub name: NodeName,
    /// The life of its data folder.
    pub incarnation: Incarnation,
    /// Which start of it.
    pub boot: u64,
    /// Node or client.
    pub role: Role,
    /// Where it accepts peers; empty for a client, which is answered on the connection it came by.
    pub address: String,
    /// Its cluster's name.
    pub cluster: String,
    /// The protocol version that both speak.
    pub version: u16,
}

/// The keys of both roles.
#[derive(Clone)]
pub struct Secrets {
    peer: Key,
    client: Key,
}

#[derive(Clone)]
struct Key {
    bytes: [u8; 32],
    configured: bool,
}

impl Secrets {
    /// From `cluster.secret` and `cluster.client_secret`; an empty one counts as none.
    pub fn new(peer: Option<&str>, client: Option<&str>) -> Secrets {
        Secrets {
            peer: Key::new("rkv 2026 handshake key of a peer", peer),
            client: Key::new("rkv 2026 handshake key of a client", client),
        }
    }

    /// Loopback only.
    pub fn none() -> Secrets {
        Secrets::new(None, None)
    }

    fn key(&self, role: Role) -> &Key {
        match role {
            Role::Peer => &self.peer,
            Role::Client => &self.client,
        }
    }

    /// Whether this end talks in this role with an address of that nature.
    pub fn allow(&self, role: Role, remote: Remote) -> Result<(), HandshakeError> {
        match (self.key(role).configured, remote) {
            (true, _) | (false, Remote::Loopback) => Ok(()),
            (false, Remote::Elsewhere) => Err(HandshakeError::NotLoopback { role }),
        }
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(***)")
    }
}

impl Key {
    fn new(context: &str, secret: Option<&str>) -> Key {
        let secret = secret.filter(|secret| !secret.is_empty());
        Key {
            bytes: blake3::derive_key(context, secret.unwrap_or_default().as_bytes()),
            configured: secret.is_some(),
        }
    }
}

/// Where the other end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remote {
    /// On this machine.
    Loopback,
    /// Anywhere else.
    Elsewhere,
}

impl From<std::net::IpAddr> for Remote {
    fn from(address: std::net::IpAddr) -> Remote {
        match address.to_canonical().is_loopback() {
            true => Remote::Loopback,
            false => Remote::Elsewhere,
        }
    }
}

/// Why two ends did not come together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The two ends hold different secrets, or only one of them has one.
    #[error("wrong secret: {} differs between the two ends", role.secret_key())]
    WrongSecret {
        /// Whose secret.
        role: Role,
    },
    /// No version that both speak.
    #[error("no common protocol version: this end speaks {} to {}, the other {} to {}", ours.0, ours.1, theirs.0, theirs.1)]
    Version {
        /// Oldest and newest of this end.
        ours: (u16, u16),
        /// Oldest and newest of the other.
        theirs: (u16, u16),
    },
    /// No secret is configured and the other end is on another machine.
    #[error("without {} only loopback addresses are talked to", role.secret_key())]
    NotLoopback {
        /// Whose secret is missing.
        role: Role,
    },
    /// What the other end said was no step of a handshake.
    #[error("handshake not understood: {0}")]
    Malformed(&'static str),
}

/// What [`Handshake::step`] wishes for.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Send this and wait for the next message.
    Send(Vec<u8>),
    /// The other end has proved itself: send this if there is anything, then talk.
    Done {
        /// The last word.
        send: Option<Vec<u8>>,
        /// Who it is.
        peer: PeerInfo,
        /// What for.
        purpose: Purpose,
    },
    /// Send this if there is anything, then close.
    Failed {
        /// The last word.
        send: Option<Vec<u8>>,
        /// Why.
        error: HandshakeError,
    },
}

/// The opening message of either end.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Hello {
    protocol: (u16, u16),
    role: Role,
    name: NodeName,
    incarnation: Incarnation,
    boot: u64,
    cluster: String,
    address: String,
    purpose: Purpose,
    nonce: [u8; 32],
}

#[derive(Debug, Serialize, Deserialize)]
enum Say {
    Hello(Hello),
    Challenge(Hello),
    Proof([u8; 32]),
    Accept([u8; 32]),
    Refuse(Refusal),
}

#[derive(Debug, Serialize, Deserialize)]
enum Refusal {
    WrongSecret,
    /// Oldest and newest version of who refuses.
    Version((u16, u16)),
    NotLoopback,
    Malformed,
}

/// One end of one handshake.
#[derive(Debug)]
pub struct Handshake {
    identity: Identity,
    secrets: Secrets,
    nonce: [u8; 32],
    remote: Remote,
    state: State,
}

/// Legal moves: Challenge → Verdict → Over for the dialler, Hello → Proof → Over for the acceptor, any → Over.
#[derive(Debug)]
enum State {
    /// Acceptor: the other has not spoken.
    AwaitHello,
    /// Dialler: said Hello, in these bytes.
    AwaitChallenge { hello: Vec<u8>, purpose: Purpose },
    /// Acceptor: said Challenge.
    AwaitProof { met: Met },
    /// Dialler: said Proof.
    AwaitVerdict { met: Met },
    /// Done or failed.
    Over,
}

/// What both know once both have opened.
#[derive(Debug)]
struct Met {
    peer: PeerInfo,
    purpose: Purpose,
    /// The role that the dialler plays: which secret is proved.
    role: Role,
    transcript: [u8; 32],
}

#[derive(Clone, Copy)]
enum Direction {
    FromDialler,
    FromAcceptor,
}

impl Handshake {
    /// The dialler's end, and its first message. Fails where this end itself may not talk to such an address.
    pub fn dial(
        identity: Identity,
        secrets: Secrets,
        purpose: Purpose,
        nonce: [u8; 32],
        remote: Remote,
    ) -> Result<(Handshake, Vec<u8>), HandshakeError> {
        secrets.allow(identity.role, remote)?;
        let hello = Say::Hello(hello(&identity, purpose, nonce)).bytes();
        let state = State::AwaitChallenge {
            hello: hello.clone(),
            purpose,
        };
        let handshake = Handshake {
            identity,
            secrets,
            nonce,
            remote,
            state,
        };
        Ok((handshake, hello))
    }

    /// The acceptor's end, which waits.
    pub fn accept(
        identity: Identity,
        secrets: Secrets,
        nonce: [u8; 32],
        remote: Remote,
    ) -> Handshake {
        Handshake {
            identity,
            secrets,
            nonce,
            remote,
            state: State::AwaitHello,
        }
    }

    /// The other end said `message`.
    pub fn step(&mut self, message: &[u8]) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let Ok(say) = read_header::<Say>(message) else {
            return refuse(HandshakeError::Malformed("not a step of this handshake"));
        };
        if let Say::Refuse(refusal) = say {
            let error = self.refused(&state, refusal);
            return Step::Failed { send: None, error };
        }
        let step = match (state, say) {
            (State::AwaitHello, Say::Hello(theirs)) => self.challenge(message, theirs),
            (State::AwaitChallenge { hello, purpose }, Say::Challenge(theirs)) => {
                self.prove(&hello, message, theirs, purpose)
            }
            (State::AwaitProof { met }, Say::Proof(mac)) => self.judge(met, mac),
            (State::AwaitVerdict { met }, Say::Accept(mac)) => self.conclude(met, mac),
            _ => Err(HandshakeError::Malformed("a step out of turn")),
        };
        step.unwrap_or_else(refuse)
    }

    fn challenge(&mut self, message: &[u8], theirs: Hello) -> Result<Step, HandshakeError> {
        let role = theirs.role;
        self.secrets.allow(role, self.remote)?;
        let purpose = theirs.purpose;
        let peer = self.meet(&theirs)?;
        let challenge = Say::Challenge(hello(&self.identity, purpose, self.nonce)).bytes();
        let met = Met {
            peer,
            purpose,
            role,
            transcript: transcript(message, &challenge),
        };
        self.state = State::AwaitProof { met };
        Ok(Step::Send(challenge))
    }

    fn prove(
        &mut self,
        hello: &[u8],
        message: &[u8],
        theirs: Hello,
        purpose: Purpose,
    ) -> Result<Step, HandshakeError> {
        if theirs.role != Role::Peer {
            return Err(HandshakeError::Malformed("a client cannot be dialled"));
        }
        let met = Met {
            peer: self.meet(&theirs)?,
            purpose,
            role: self.identity.role,
            transcript: transcript(hello, message),
        };
        let proof = self.mac(Direction::FromDialler, &met);
        self.state = State::AwaitVerdict { met };
        Ok(Step::Send(Say::Proof(proof.into()).bytes()))
    }

    fn judge(&mut self, met: Met, mac: [u8; 32]) -> Result<Step, HandshakeError> {
        self.check(Direction::FromDialler, &met, mac)?;
        let accept = Say::Accept(self.mac(Direction::FromAcceptor, &met).into()).bytes();
        Ok(Step::Done {
            send: Some(accept),
            peer: met.peer,
            purpose: met.purpose,
        })
    }

    fn conclude(&mut self, met: Met, mac: [u8; 32]) -> Result<Step, HandshakeError> {
        self.check(Direction::FromAcceptor, &met, mac)?;
        Ok(Step::Done {
            send: None,
            peer: met.peer,
            purpose: met.purpose,
        })
    }

    /// What the other end's opening tells, if it is fit to talk to.
    fn meet(&self, theirs: &Hello) -> Result<PeerInfo, HandshakeError> {
        let texts = [
            theirs.name.as_str(),
            theirs.cluster.as_str(),
            theirs.address.as_str(),
        ];
        if texts.iter().any(|text| text.len() > MAX_TEXT) || theirs.name.as_str().is_empty() {
            return Err(HandshakeError::Malformed("a name of no fit length"));
        }
        if theirs.role == Role::Peer && theirs.address.is_empty() {
            return Err(HandshakeError::Malformed("a node without an address"));
        }
        let version = self.version(theirs.protocol)?;
        Ok(PeerInfo {
            name: theirs.name.clone(),
            incarnation: theirs.incarnation,
            boot: theirs.boot,
            role: theirs.role,
            address: theirs.address.clone(),
            cluster: theirs.cluster.clone(),
            version,
        })
    }

    /// The newest version that both speak.
    fn version(&self, theirs: (u16, u16)) -> Result<u16, HandshakeError> {
        let ours = self.identity.protocol;
        let newest = ours.1.min(theirs.1);
        match newest >= ours.0.max(theirs.0) {
            true => Ok(newest),
            false => Err(HandshakeError::Version { ours, theirs }),
        }
    }

    fn mac(&self, direction: Direction, met: &Met) -> blake3::Hash {
        let label: &[u8] = match direction {
            Direction::FromDialler => b"dialler ",
            Direction::FromAcceptor => b"acceptor",
        };
        blake3::Hasher::new_keyed(&self.secrets.key(met.role).bytes)
            .update(label)
            .update(&met.transcript)
            .finalize()
    }

    fn check(&self, direction: Direction, met: &Met, mac: [u8; 32]) -> Result<(), HandshakeError> {
        let expected = self.mac(direction, met);
        match bool::from(expected.as_bytes().ct_eq(&mac)) {
            true => Ok(()),
            false => Err(HandshakeError::WrongSecret { role: met.role }),
        }
    }

    /// The other end's refusal as this end's error.
    fn refused(&self, state: &State, refusal: Refusal) -> HandshakeError {
        let role = match state {
            State::AwaitProof { met } | State::AwaitVerdict { met } => met.role,
            _ => self.identity.role,
        };
        match refusal {
            Refusal::WrongSecret => HandshakeError::WrongSecret { role },
            Refusal::NotLoopback => HandshakeError::NotLoopback { role },
            Refusal::Version(theirs) => HandshakeError::Version {
                ours: self.identity.protocol,
                theirs,
            },
            Refusal::Malformed => HandshakeError::Malformed("refused as not understood"),
        }
    }
}

impl Say {
    fn bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).expect("plain structures of bounded size can be written")
    }
}

fn hello(identity: &Identity, purpose: Purpose, nonce: [u8; 32]) -> Hello {
    Hello {
        protocol: identity.protocol,
        role: identity.role,
        name: identity.name.clone(),
        incarnation: identity.incarnation,
        boot: identity.boot,
        cluster: identity.cluster.clone(),
        address: identity.address.clone(),
        purpose,
        nonce,
    }
}

fn refuse(error: HandshakeError) -> Step {
    let refusal = match &error {
        HandshakeError::WrongSecret { .. } => Refusal::WrongSecret,
        HandshakeError::Version { ours, .. } => Refusal::Version(*ours),
        HandshakeError::NotLoopback { .. } => Refusal::NotLoopback,
        HandshakeError::Malformed(_) => Refusal::Malformed,
    };
    Step::Failed {
        send: Some(Say::Refuse(refusal).bytes()),
        error,
    }
}

/// Digest of both opening messages as they travelled, each behind its length.
fn transcript(hello: &[u8], challenge: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("rkv 2026 handshake transcript");
    for message in [hello, challenge] {
        hasher.update(&(message.len() as u64).to_le_bytes());
        hasher.update(message);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, role: Role) -> Identity {
        Identity {
            name: name.into(),
            incarnation: Incarnation(u128::MAX - 7),
            boot: 3,
            role,
            address: "127.0.0.1:8199".into(),
            cluster: "rkv".into(),
            protocol: (PROTOCOL_MIN, PROTOCOL_MAX),
        }
    }

    fn secrets(peer: &str, client: &str) -> Secrets {
        Secrets::new(Some(peer), Some(client))
    }

    struct Ends {
        dialler: Identity,
        dialler_secrets: Secrets,
        acceptor: Identity,
        acceptor_secrets: Secrets,
        remote: Remote,
    }

    impl Ends {
        fn new(dialler_secrets: Secrets, acceptor_secrets: Secrets) -> Ends {
            Ends {
                dialler: identity("dialler", Role::Peer),
                dialler_secrets,
                acceptor: identity("acceptor", Role::Peer),
                acceptor_secrets,
                remote: Remote::Elsewhere,
            }
        }

        fn client(mut self) -> Ends {
            self.dialler.role = Role::Client;
            self
        }

        fn loopback(mut self) -> Ends {
            self.remote = Remote::Loopback;
            self
        }

        fn dial(&self) -> Result<(Handshake, Vec<u8>), HandshakeError> {
            Handshake::dial(
                self.dialler.clone(),
                self.dialler_secrets.clone(),
                Purpose::Bulk,
                [1; 32],
                self.remote,
            )
        }

        fn accept(&self, nonce: u8) -> Handshake {
            Handshake::accept(
                self.acceptor.clone(),
                self.acceptor_secrets.clone(),
                [nonce; 32],
                self.remote,
            )
        }

        /// Both ends to their end: what the dialler and what the acceptor made of it.
        fn run(&self) -> (Outcome, Outcome) {
            let mut acceptor = self.accept(2);
            let (mut dialler, mut message) = match self.dial() {
                Ok(begun) => begun,
                Err(error) => return (Err(error), Err(HandshakeError::Malformed("not dialled"))),
            };
            let (mut dialled, mut accepted) = (None, None);
            for turn in 0.. {
                let acceptors_turn = turn % 2 == 0;
                let step = match acceptors_turn {
                    true => acceptor.step(&message),
                    false => dialler.step(&message),
                };
                let (send, outcome) = match step {
                    Step::Send(send) => (Some(send), None),
                    Step::Done {
                        send,
                        peer,
                        purpose,
                    } => (send, Some(Ok((peer, purpose)))),
                    Step::Failed { send, error } => (send, Some(Err(error))),
                };
                match acceptors_turn {
                    true => accepted = accepted.or(outcome),
                    false => dialled = dialled.or(outcome),
                }
                match send {
                    Some(send) => message = send,
                    None => break,
                }
                if acceptors_turn && dialled.is_some() || !acceptors_turn && accepted.is_some() {
                    break;
                }
            }
            let silent = || Err(HandshakeError::Malformed("never heard"));
            (
                dialled.unwrap_or_else(silent),
                accepted.unwrap_or_else(silent),
            )
        }
    }

    type Outcome = Result<(PeerInfo, Purpose), HandshakeError>;

    /// Lost without it: nodes that do not come together, or take each other for somebody else.
    #[test]
    fn both_learn_who_the_other_is() {
        let (dialled, accepted) = Ends::new(secrets("s", "c"), secrets("s", "c")).run();
        let (acceptor, _) = dialled.unwrap();
        assert_eq!(acceptor.name, "acceptor".into());
        assert_eq!(acceptor.incarnation, Incarnation(u128::MAX - 7));
        assert_eq!(acceptor.boot, 3);
        assert_eq!(acceptor.version, 1);
        let (dialler, purpose) = accepted.unwrap();
        assert_eq!(dialler.name, "dialler".into());
        assert_eq!(dialler.role, Role::Peer);
        assert_eq!(purpose, Purpose::Bulk);
    }

    /// Lost without it: a stranger let in, or a node kept out without a word why.
    #[test]
    fn both_ends_of_a_wrong_secret_say_so() {
        let wrong = |role| Err(HandshakeError::WrongSecret { role });
        let table = [
            (secrets("s", "c"), secrets("t", "c")),
            (secrets("s", "c"), Secrets::none()),
            (Secrets::none(), secrets("s", "c")),
        ];
        for (dialler, acceptor) in table {
            let ends = Ends::new(dialler, acceptor).loopback();
            assert_eq!(ends.run(), (wrong(Role::Peer), wrong(Role::Peer)));
        }
        let clients = Ends::new(secrets("s", "c"), secrets("s", "d")).client();
        assert_eq!(clients.run(), (wrong(Role::Client), wrong(Role::Client)));
        let text = HandshakeError::WrongSecret { role: Role::Client }.to_string();
        assert!(text.contains("cluster.client_secret"), "{text}");
    }

    /// Lost without it: a client that passes for a node with the client's secret, even where both are spelt alike.
    #[test]
    fn a_client_proves_its_own_secret_and_no_other() {
        let ends = Ends::new(secrets("s", "c"), secrets("t", "c")).client();
        let (dialled, accepted) = ends.run();
        assert!(dialled.is_ok());
        assert_eq!(accepted.unwrap().0.role, Role::Client);

        let keys = secrets("same", "same");
        assert_ne!(keys.key(Role::Peer).bytes, keys.key(Role::Client).bytes);
    }

    /// Lost without it: a node open to the network because nobody set a secret.
    #[test]
    fn without_a_secret_only_loopback() {
        let not_loopback = HandshakeError::NotLoopback { role: Role::Peer };
        let ends = Ends::new(Secrets::none(), Secrets::none()).loopback();
        assert!(matches!(ends.run(), (Ok(_), Ok(_))));
        let ends = Ends::new(Secrets::none(), Secrets::none());
        assert_eq!(ends.dial().err(), Some(not_loopback.clone()));
        let ends = Ends::new(secrets("s", "c"), Secrets::none());
        assert_eq!(ends.run(), (Err(not_loopback.clone()), Err(not_loopback)));
        let only_peers = Ends::new(secrets("s", "c"), Secrets::new(Some("s"), None));
        assert!(matches!(only_peers.run(), (Ok(_), Ok(_))));
        let (_, accepted) = only_peers.client().run();
        assert_eq!(
            accepted,
            Err(HandshakeError::NotLoopback { role: Role::Client })
        );
        let here = |ip: &str| Remote::from(ip.parse::<std::net::IpAddr>().unwrap());
        assert_eq!(here("127.0.0.9"), Remote::Loopback);
        assert_eq!(here("::1"), Remote::Loopback);
        assert_eq!(here("::ffff:127.0.0.1"), Remote::Loopback);
        assert_eq!(here("10.0.0.1"), Remote::Elsewhere);
    }

    /// Lost without it: versions that talk past each other.
    #[test]
    fn the_newest_common_version_or_none() {
        let table = [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((2, 5), (1, 3), Some(3)),
            ((1, 2), (3, 4), None),
            ((3, 4), (1, 2), None),
        ];
        for (ours, theirs, newest) in table {
            let mut ends = Ends::new(secrets("s", "c"), secrets("s", "c"));
            ends.dialler.protocol = ours;
            ends.acceptor.protocol = theirs;
            match (ends.run(), newest) {
                ((Ok((acceptor, _)), Ok((dialler, _))), Some(newest)) => {
                    assert_eq!((acceptor.version, dialler.version), (newest, newest));
                }
                ((Err(dialled), Err(accepted)), None) => {
                    assert_eq!(dialled, HandshakeError::Version { ours, theirs });
                    let (ours, theirs) = (theirs, ours);
                    assert_eq!(accepted, HandshakeError::Version { ours, theirs });
                }
                (outcome, _) => panic!("{ours:?} {theirs:?}: {outcome:?}"),
            }
        }
    }

    /// Lost without it: an attacker without the secret who lets the node make the proof itself.
    #[test]
    fn proofs_cannot_be_reflected_replayed_or_moved() {
        let ends = Ends::new(secrets("s", "c"), secrets("s", "c"));
        let wrong = HandshakeError::WrongSecret { role: Role::Peer };
        let fails = |step: Step, error: &HandshakeError| match step {
            Step::Failed { error: why, .. } => assert_eq!(why, *error),
            other => panic!("{other:?}"),
        };
        let send = |step: Step| match step {
            Step::Send(message) => message,
            other => panic!("{other:?}"),
        };

        // the dialler's proof comes back to it as if it were the acceptor's
        let (mut dialler, hello) = ends.dial().unwrap();
        let challenge = send(ends.accept(2).step(&hello));
        let proof = send(dialler.step(&challenge));
        let Ok(Say::Proof(mac)) = read_header(&proof) else {
            panic!("no proof");
        };
        fails(dialler.step(&Say::Accept(mac).bytes()), &wrong);

        // its own Hello comes back to it
        let (mut dialler, hello) = ends.dial().unwrap();
        let error = HandshakeError::Malformed("a step out of turn");
        fails(dialler.step(&hello), &error);

        // the recorded proof is played to an acceptor that drew another nonce
        let mut acceptor = ends.accept(9);
        acceptor.step(&hello);
        fails(acceptor.step(&proof), &wrong);

        // somebody in between changes what the dialler says of itself
        let mut forged = ends.dialler.clone();
        forged.name = "other".into();
        let forged = Say::Hello(super::hello(&forged, Purpose::Bulk, [1; 32])).bytes();
        let (mut dialler, _) = ends.dial().unwrap();
        let mut acceptor = ends.accept(2);
        let proof = send(dialler.step(&send(acceptor.step(&forged))));
        fails(acceptor.step(&proof), &wrong);
    }

    /// Lost without it: a node that a stranger's first bytes bring down, or that speaks before it is spoken to.
    #[test]
    fn nonsense_is_refused() {
        let ends = Ends::new(secrets("s", "c"), secrets("s", "c"));
        let failed = |step: Step| matches!(step, Step::Failed { .. });
        assert!(failed(ends.accept(2).step(b"")));
        assert!(failed(ends.accept(2).step(&[0xff; 100])));
        assert!(failed(ends.accept(2).step(&Say::Proof([0; 32]).bytes())));
        let mut long = ends.dialler.clone();
        long.name = "x".repeat(MAX_TEXT + 1).into();
        let long = Say::Hello(hello(&long, Purpose::Probe, [1; 32])).bytes();
        assert!(failed(ends.accept(2).step(&long)));

        // after its end a handshake stays over
        let (_, hello) = ends.dial().unwrap();
        let mut acceptor = ends.accept(2);
        assert!(failed(acceptor.step(b"")));
        assert!(failed(acceptor.step(&hello)));
    }

    /// Lost without it: secrets in a log.
    #[test]
    fn secrets_are_not_printed() {
        let (handshake, _) = Ends::new(secrets("hunter2", "c"), Secrets::none())
            .dial()
            .unwrap();
        let text = format!("{handshake:?}");
        assert!(text.contains("Secrets(***)") && !text.contains("hunter2"));
    }
}
