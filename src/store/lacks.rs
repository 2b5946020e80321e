//! Which of the system's errors mean that a file system lacks something.

use std::io::{self, ErrorKind};

/// The errors that the standard library doesn't name on every system: `ENOSYS`, `EOPNOTSUPP`, `ENOTSUP`, `ENOLCK`.
#[cfg(target_os = "linux")]
const UNSUPPORTED: [i32; 3] = [38, 95, 37];
#[cfg(not(target_os = "linux"))]
const UNSUPPORTED: [i32; 4] = [78, 102, 45, 77];
/// `EBADF`: some systems don't sync a folder that is open for reading only.
const EBADF: i32 = 9;

/// Returns true if the system says that it doesn't support this at all.
fn is_unsupported(fault: &io::Error) -> bool {
    let by_number = fault
        .raw_os_error()
        .is_some_and(|number| UNSUPPORTED.contains(&number));
    fault.kind() == ErrorKind::Unsupported || by_number
}

/// Returns true if a file can't have a second name here.
pub(super) fn hard_links(fault: &io::Error) -> bool {
    let kinds = [ErrorKind::PermissionDenied, ErrorKind::TooManyLinks];
    is_unsupported(fault) || kinds.contains(&fault.kind())
}

/// Returns true if files can't be locked here.
pub(super) fn locks(fault: &io::Error) -> bool {
    is_unsupported(fault) || fault.kind() == ErrorKind::InvalidInput
}

/// Returns true if folders can't be synced here; then names are as safe as this file system makes them.
pub(super) fn folder_syncs(fault: &io::Error) -> bool {
    let kinds = [ErrorKind::InvalidInput, ErrorKind::PermissionDenied];
    is_unsupported(fault) || kinds.contains(&fault.kind()) || fault.raw_os_error() == Some(EBADF)
}

/// Returns true if nothing can be written here.
pub(super) fn writing(fault: &io::Error) -> bool {
    let kinds = [ErrorKind::ReadOnlyFilesystem, ErrorKind::PermissionDenied];
    kinds.contains(&fault.kind())
}
