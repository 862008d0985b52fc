//! The system calls that a guard never makes, and an intruder would.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompFilter, apply_filter_all_threads,
};

/// To run other programs, to look into other processes or be looked into, to change what is mounted or
/// which namespace this is, the kernel itself, keys, devices, and the clock, which is the time daemon's.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_by_handle_at,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_personality,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_settimeofday,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Has the kernel refuse them with EPERM, now and in each process and thread that comes of this one,
/// none of which can gain privileges any more.
pub(super) fn filter() -> Result<(), Error> {
    apply_filter_all_threads(&program()?)
}

fn program() -> Result<BpfProgram, BackendError> {
    let rules: BTreeMap<_, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    // Refused and not killed for: a library's new idea is to cost an error, not the guard.
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, ARCH.try_into()?)?.try_into()
}

#[cfg(test)]
mod tests {
    use std::{io, process::Command, thread};

    use seccompiler::apply_filter;

    use super::*;

    #[test]
    fn other_programs_and_the_clock_are_out_of_reach() {
        // A filter is the thread's alone.
        let outcome = thread::spawn(|| {
            apply_filter(&program().unwrap()).unwrap();
            let started = Command::new("true").status().map_err(|error| error.kind());
            let read = std::fs::read_to_string("/proc/self/status").map(drop);
            (started, read.is_ok())
        })
        .join()
        .unwrap();
        assert_eq!(outcome, (Err(io::ErrorKind::PermissionDenied), true));
    }
}
