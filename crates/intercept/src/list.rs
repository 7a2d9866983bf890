//! Which socket is whose: what `ss -p` shows.

use std::collections::HashMap;

use crate::process::{command, sockets_in_proc};
use crate::report::{SocketUser, SocketUsers};
use crate::supervisor::Supervisor;
use crate::table::{Kind, Tcp};

impl Supervisor {
    /// Every socket, with the processes that have a descriptor of it.
    pub(crate) fn list_sockets(&self) -> Vec<SocketUsers> {
        let mut users: HashMap<u64, Vec<SocketUser>> = HashMap::new();
        for (inode, place) in sockets_in_proc() {
            let user = SocketUser {
                process: place.thread,
                command: command(place.thread),
                descriptor: place.descriptor,
            };
            users.entry(inode).or_default().push(user);
        }
        let sockets = self.table.iter().map(|(_, socket)| SocketUsers {
            protocol: if matches!(socket.kind, Kind::Udp(_)) { "udp" } else { "tcp" },
            local: socket.local(),
            remote: match &socket.kind {
                Kind::Tcp(Tcp::Connected(connected)) => connected.stream.peer().ok(),
                _ => socket.peer(),
            },
            listens: matches!(socket.kind, Kind::Tcp(Tcp::Listening(_))),
            users: users.remove(&socket.inode).unwrap_or_default(),
        });
        sockets.collect()
    }
}
