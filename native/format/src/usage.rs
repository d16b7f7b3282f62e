//! What calls do with files, told from their rows of the syscall table: the paths that they name, and the descriptors between
//! which they move bytes.

use crate::table::{Dir, Ret, Syscall, Ty};

/// The descriptors between which a call moves bytes: arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Transfer {
    /// It reads from this one.
    pub from: Option<u8>,
    /// It writes to this one.
    pub to: Option<u8>,
}

/// What a syscall does with paths and descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Arguments that are paths.
    pub paths: [Option<u8>; 2],
    /// For each of them the argument with the directory that it is relative to.
    pub bases: [Option<u8>; 2],
    /// It opens what its path names.
    pub opens: bool,
    /// What it moves.
    pub transfer: Transfer,
}

impl Plan {
    /// The plan of a syscall.
    #[must_use]
    pub fn of(row: &Syscall) -> Plan {
        let mut plan = Plan { opens: row.ret == Ret::Fd, transfer: Transfer::of(row), ..Plan::default() };
        let paths = (0u8..).zip(row.args).filter(|(_, arg)| arg.ty == Ty::Path && arg.dir == Dir::In);
        for ((k, _), (path, base)) in paths.zip(plan.paths.iter_mut().zip(&mut plan.bases)) {
            *path = Some(k);
            *base = k.checked_sub(1).filter(|&before| row.args[usize::from(before)].ty == Ty::DirFd);
        }
        plan
    }
}

impl Transfer {
    /// What a syscall moves.
    #[must_use]
    pub fn of(row: &Syscall) -> Transfer {
        let (from, to) = match row.name {
            // Without memory of the program.
            "sendfile" | "sendfile64" => (Some(1), Some(0)),
            "splice" | "copy_file_range" => (Some(0), Some(2)),
            "tee" => (Some(0), Some(1)),
            "vmsplice" => (None, Some(0)),
            name if row.ret != Ret::Size || counts_other_bytes(name) => (None, None),
            _ => {
                let fd = row.args.iter().position(|arg| matches!(arg.ty, Ty::Fd | Ty::DirFd)).map(|k| k as u8);
                let buffer = row.args.iter().find(|arg| matches!(arg.ty, Ty::Bytes | Ty::Iovec | Ty::Msghdr));
                match buffer.map(|arg| arg.dir) {
                    Some(Dir::Out) => (fd, None),
                    Some(_) => (None, fd),
                    None => (None, None),
                }
            }
        };
        Transfer { from, to }
    }
}

/// Whether what a call gives back counts bytes, but not of the content of a file.
fn counts_other_bytes(name: &str) -> bool {
    name.contains("xattr")
        || name.contains("readlink")
        || ["getrandom", "lookup_dcookie", "process_"].iter().any(|start| name.starts_with(start))
}
