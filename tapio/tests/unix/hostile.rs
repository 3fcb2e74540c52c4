//! What a process at a socket may try beside sending frames.

use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg, sendmsg_addr,
};
use tapio::testing::Port;
use tapio::{DgramConfig, PortSpec, Role, StreamConfig};

use crate::lab::{Driven, Folder, frames, wait_until};
use crate::waiting::{Lingering, at_once};

fn stream(path: &Path, role: Role) -> PortSpec {
    PortSpec::from(StreamConfig { path: path.to_owned(), role })
}

fn dgram(folder: &Folder) -> PortSpec {
    PortSpec::from(DgramConfig { path: folder.path("switch"), peer: folder.path("peer") })
}

fn with_length(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

/// Sends a descriptor beside `bytes`, over the connection or to `path`. Where the kernel doesn't let it, closing it waits for
/// nobody.
fn send_beside(socket: &impl AsFd, path: Option<&Path>, bytes: &[u8], flags: SendFlags) {
    let send = |fd: BorrowedFd<'_>| {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [fd];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        let bytes = [IoSlice::new(bytes)];
        let sent = match path {
            Some(path) => {
                sendmsg_addr(socket, &SocketAddrUnix::new(path).unwrap(), &bytes, &mut ancillary, flags)
            }
            None => sendmsg(socket, &bytes, &mut ancillary, flags),
        };
        if sent.is_err() {
            set_socket_linger(fd, Some(Duration::ZERO)).unwrap();
        }
    };
    // The other end goes on taking nothing until the test has ended.
    std::mem::forget(Lingering::new().give(send));
}

#[test]
fn descriptors_beside_frames_of_a_stream_keep_nobody_waiting() {
    let folder = Folder::new();
    let path = folder.path("s");
    for role in [Role::Server, Role::Client] {
        let listener = (role == Role::Client).then(|| UnixListener::bind(&path).unwrap());
        let mut port = Driven::open(&stream(&path, role));
        let mut peer = match &listener {
            None => UnixStream::connect(&path).unwrap(),
            Some(listener) => {
                port.port.link_up();
                listener.accept().unwrap().0
            }
        };
        let frame = &frames(1)[0];
        // As server, also before it is let in.
        for flags in [SendFlags::NOSIGNAL, SendFlags::NOSIGNAL | SendFlags::OOB] {
            send_beside(&peer, None, &[0], flags);
        }
        at_once("receiving", || port.receive());
        // They were frames of no length, if they came at all.
        if peer.write_all(&with_length(frame)).is_ok() {
            at_once("receiving", || port.receive());
            send_beside(&peer, None, &with_length(frame), SendFlags::NOSIGNAL);
        }
        drop(peer);
        at_once("the end", || port.receive());
        at_once("closing the port", || drop(port));
        drop(listener);
        let _ = fs::remove_file(&path);
    }
}

#[test]
fn descriptors_of_a_second_peer_of_a_stream_keep_nobody_waiting() {
    let folder = Folder::new();
    let mut port = Driven::open(&stream(&folder.path("s"), Role::Server));
    let mut peer = UnixStream::connect(folder.path("s")).unwrap();
    port.receive();
    let second = UnixStream::connect(folder.path("s")).unwrap();
    send_beside(&second, None, b"frame", SendFlags::NOSIGNAL);
    at_once("turning it away", || port.receive());
    peer.write_all(&with_length(&frames(1)[0])).unwrap();
    assert_eq!(port.receive_frames(1), frames(1));
}

#[test]
fn descriptors_beside_datagrams_keep_nobody_waiting() {
    let folder = Folder::new();
    let mut port = Driven::open(&dgram(&folder));
    let peer = UnixDatagram::bind(folder.path("peer")).unwrap();
    for _ in 0..3 {
        send_beside(&peer, Some(&folder.path("switch")), &frames(1)[0], SendFlags::NOSIGNAL);
        at_once("receiving", || port.receive());
    }
    peer.send_to(&frames(2)[1], folder.path("switch")).unwrap();
    assert_eq!(port.receive_frames(1), frames(2)[1..]);
    send_beside(&peer, Some(&folder.path("switch")), &frames(1)[0], SendFlags::NOSIGNAL);
    at_once("closing the port", || drop(port));
}

#[test]
fn a_socket_has_its_rights_at_once_and_nothing_else_gets_them() {
    let folder = Folder::new();
    let secret = folder.path("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let path = folder.path("s");
    let (watched, aim) = (path.clone(), secret.clone());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    // Whoever may write to the folder puts a link in the socket's place as soon as it is there.
    let other = std::thread::spawn(move || {
        let mut seen = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            if let Ok(metadata) = fs::symlink_metadata(&watched)
                && !metadata.is_symlink()
            {
                assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
                fs::remove_file(&watched).unwrap_or_default();
                symlink(&aim, &watched).unwrap_or_default();
                seen += 1;
            }
        }
        seen
    });
    for _ in 0..300 {
        let _ = fs::remove_file(&path);
        let _ = Port::open(&stream(&path, Role::Server));
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(other.join().unwrap() > 10);
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_link_is_not_followed_to_a_socket_and_not_replaced_by_one() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path("elsewhere")).unwrap();
    symlink(folder.path("elsewhere"), folder.path("s")).unwrap();
    let mut client = Driven::open(&stream(&folder.path("s"), Role::Client));
    assert!(!client.port.link_up());
    let error = Port::open(&stream(&folder.path("s"), Role::Server)).unwrap_err().to_string();
    assert!(error.contains("something else than a socket is there"), "{error}");
    listener.set_nonblocking(true).unwrap();
    wait_until(|| listener.accept().is_err());
    assert!(fs::symlink_metadata(folder.path("s")).unwrap().is_symlink());
}
