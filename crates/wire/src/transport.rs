//! This file answers: what may a node expect of whatever carries its messages?
//!
//! Little: messages to one node on one lane arrive in order, each at most once. Some may be missing, since nothing is
//! sent again: what is known never to have left is handed back, so that "not applied" can be said truthfully; of the
//! rest nothing is known, and its sender's deadline speaks.

use rkv_ring::NodeName;

use crate::handshake::{HandshakeError, PeerInfo, Role};
use crate::message::{Envelope, Message};

/// Whom to send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, or its [life's](PeerInfo::life); whoever answers at the address under another gets nothing.
    pub name: NodeName,
    /// `host:port` of its peer listener. Empty: a client, answered on the connection it came by.
    pub address: String,
}

impl PeerInfo {
    /// Where to answer it.
    pub fn peer(&self) -> Peer {
        Peer {
            name: self.name.clone(),
            address: self.address.clone(),
        }
    }

    /// The name of this life of it and of no other, for who must not be taken for another node of its name.
    pub fn life(&self) -> NodeName {
        format!("{}~{}", self.name, self.incarnation).into()
    }

    /// Whether its role lets it say `message`.
    pub fn may_say(&self, message: &Message) -> bool {
        self.role == Role::Peer || message.is_clients()
    }
}

/// Carries messages to other nodes.
pub trait Transport: Send + Sync {
    /// Never blocks, and never calls the [`Handler`] before it returns.
    ///
    /// The message goes behind those sent to the same node on the same lane before; when the node cannot be reached
    /// or its queue is full it is dropped, and the handler hears of it.
    fn send(&self, to: &Peer, envelope: Envelope);
}

/// Takes what arrives. Called on the transport's own tasks, one at a time for each connection: whoever is slow here
/// slows that peer down, and whoever blocks holds up the runtime and is taken for dead by all.
pub trait Handler: Send + Sync + 'static {
    /// `from` said this. Clients' messages come here too, and of theirs only those that they may send.
    fn message(&self, from: &PeerInfo, envelope: Envelope);

    /// `from` said these, and they came together. All are taken out; left to itself, each goes to [`Handler::message`], in their
    /// order.
    fn messages(&self, from: &PeerInfo, envelopes: &mut Vec<Envelope>) {
        for envelope in envelopes.drain(..) {
            self.message(from, envelope);
        }
    }

    /// `name` could not be connected to, or the connection was lost. `undelivered`, in order: what is known never to
    /// have left. Called again for what is sent within the back-off; after it a send tries anew.
    fn unreachable(&self, name: &NodeName, undelivered: Vec<Envelope>);

    /// Nobody listens at the address of `name`: it is gone, whatever else is heard of it.
    fn refused(&self, name: &NodeName) {
        let _ = name;
    }

    /// `peer` has just proved to be there.
    fn appeared(&self, peer: &PeerInfo) {
        let _ = peer;
    }

    /// Whether to find out at once, with nothing to send, if `name` is there whose connection was lost or refused.
    fn is_missed(&self, name: &NodeName) -> bool {
        let _ = name;
        false
    }

    /// These never left although `name` is there: its queue was full, or they break a bound. Treated as unreachable
    /// unless told otherwise.
    fn overloaded(&self, name: &NodeName, undelivered: Vec<Envelope>) {
        self.unreachable(name, undelivered);
    }

    /// Someone at `remote` was turned away. For people: it is also in the log.
    fn turned_away(&self, remote: &str, error: &HandshakeError) {
        let _ = (remote, error);
    }
}
