//! The system calls that a guard never makes, and an intruder would; and the few that the processes make
//! that parse.

use std::{collections::BTreeMap, env::consts::ARCH};

use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, apply_filter, apply_filter_all_threads,
};

use super::Work;

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

/// What every process that parses may do: speak over the sockets that it has, have memory, and end.
const WORKING: &[libc::c_long] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ppoll,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// What a reader does besides that waits for a socket and for its own patience.
const WAITING: &[libc::c_long] = &[
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_shutdown,
    // tokio has a pair of sockets for signals, of which none are waited for.
    libc::SYS_socketpair,
    libc::SYS_uname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
];

/// What a reader does besides that asks DNS, over sockets of the internet alone.
const CONNECTING: &[libc::c_long] = &[libc::SYS_bind, libc::SYS_connect, libc::SYS_setsockopt];

/// What the starter does besides.
const STARTING: &[libc::c_long] = &[
    libc::SYS_clone,
    libc::SYS_wait4,
    libc::SYS_getppid,
    // musl does so in the child of a fork.
    libc::SYS_set_tid_address,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_seccomp,
    libc::SYS_landlock_create_ruleset,
    libc::SYS_landlock_restrict_self,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_setrlimit,
];

/// Has the kernel refuse all but what the starter does, and its readers.
pub(super) fn allow_starting() -> Result<(), Error> {
    let mut rules = working(&[Work::Texts, Work::Answers, Work::Names])?;
    rules.extend(STARTING.iter().map(|call| (*call, Vec::new())));
    // Of its own children it ends those that hang.
    let kill = is(1, SeccompCmpArgLen::Dword, libc::SIGKILL.cast_unsigned())?;
    rules.insert(libc::SYS_kill, vec![kill]);
    apply_filter(&allowing(rules)?)
}

/// Has the kernel refuse all but what a reader does for `work`.
pub(super) fn allow_working(work: Work) -> Result<(), Error> {
    apply_filter(&allowing(working(&[work])?)?)
}

/// System calls, and which of their arguments are allowed; all where there are no rules.
type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

fn working(works: &[Work]) -> Result<Rules, BackendError> {
    let mut rules: Rules = WORKING.iter().map(|call| (*call, Vec::new())).collect();
    // Not F_SETOWN, which could have the kernel send another process any signal.
    let of_descriptors = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_DUPFD_CLOEXEC,
    ];
    let commands =
        of_descriptors.map(|command| is(1, SeccompCmpArgLen::Dword, command.cast_unsigned()));
    rules.insert(
        libc::SYS_fcntl,
        commands.into_iter().collect::<Result<_, _>>()?,
    );
    for work in works {
        match work {
            Work::Texts => {}
            Work::Answers => wait(&mut rules)?,
            Work::Names => {
                wait(&mut rules)?;
                rules.extend(CONNECTING.iter().map(|call| (*call, Vec::new())));
                let families = [libc::AF_INET, libc::AF_INET6]
                    .map(|family| is(0, SeccompCmpArgLen::Dword, family.cast_unsigned()));
                rules.insert(
                    libc::SYS_socket,
                    families.into_iter().collect::<Result<_, _>>()?,
                );
            }
        }
    }
    Ok(rules)
}

fn wait(rules: &mut Rules) -> Result<(), BackendError> {
    rules.extend(WAITING.iter().map(|call| (*call, Vec::new())));
    let nonblocking = is(1, SeccompCmpArgLen::Dword, libc::FIONBIO as u32)?;
    rules.insert(libc::SYS_ioctl, vec![nonblocking]);
    Ok(())
}

/// The rule that an argument, counted from 0, is this number.
fn is(argument: u8, width: SeccompCmpArgLen, value: u32) -> Result<SeccompRule, BackendError> {
    let condition = SeccompCondition::new(argument, width, SeccompCmpOp::Eq, value.into())?;
    SeccompRule::new(vec![condition])
}

fn allowing(rules: Rules) -> Result<BpfProgram, BackendError> {
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, refused, SeccompAction::Allow, ARCH.try_into()?)?.try_into()
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
