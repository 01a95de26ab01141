//! Which system calls a job may not make.
//!
//! Denials answer `EPERM`, and `ENOSYS` where libraries then fall back to older calls (`clone3`, `io_uring`), never a
//! kill. The list is of what hands out power over other processes, the kernel, mounts or namespaces, after the default
//! profile of Docker; what remains is held in by Landlock, limits and an unprivileged user.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter, sock_filter,
};

use crate::confinement::full::view::View;
use crate::confinement::level::Network;

/// Calls that are denied whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // The kernel
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    // Memory that no limit counts
    libc::SYS_memfd_secret,
];

/// Calls of one architecture that are denied whatever their arguments.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS__sysctl,
    libc::SYS_lookup_dcookie,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[libc::SYS_kexec_file_load];

/// What is shared by key with every process of the machine: denied where it has no namespace of its own.
const SHARED_BY_KEY: &[libc::c_long] = &[
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_msgctl,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
];

/// Calls that count as not there.
const ABSENT: &[libc::c_long] =
    &[libc::SYS_clone3, libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];

/// The namespaces that `clone` could make.
const NAMESPACES: &[libc::c_int] = &[
    libc::CLONE_NEWNS,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Puts bytes into a terminal's input.
const TIOCLINUX: u64 = 0x541c;

/// Whom the job has for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Company {
    /// Nobody: its namespaces are its own.
    None,
    /// The machine's other users.
    Others,
    /// The worker itself, and other jobs, as the same user.
    SameUser,
}

/// Calls that change another process of the same user, unless this argument is 0. Those that name a thread of one's own
/// by its number are denied with them.
const OF_OTHERS: &[(libc::c_long, u8)] = &[
    (libc::SYS_prlimit64, 0),
    (libc::SYS_sched_setaffinity, 0),
    (libc::SYS_sched_setscheduler, 0),
    (libc::SYS_sched_setparam, 0),
    (libc::SYS_sched_setattr, 0),
    (libc::SYS_setpriority, 1),
    (libc::SYS_ioprio_set, 1),
];

/// Calls that change all processes of a user when they name this kind of whom they mean.
const OF_A_USER: &[(libc::c_long, u64)] = &[(libc::SYS_setpriority, 2), (libc::SYS_ioprio_set, 3)];

/// Before this version Landlock lets the owner of a readable file truncate it.
const LANDLOCK_WITH_TRUNCATE: i32 = 3;

/// Calls that open a file, and which argument their flags are.
#[cfg(target_arch = "x86_64")]
const OPENING: &[(libc::c_long, u8)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENING: &[(libc::c_long, u8)] = &[(libc::SYS_openat, 2)];

/// Denies them to this thread and to all that it will start, for good.
pub(crate) fn deny(view: &View, company: Company) -> io::Result<()> {
    for program in programs(view.network, view.landlock, company).map_err(io::Error::other)? {
        apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn programs(network: Network, landlock: i32, company: Company) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut absent: BTreeMap<i64, Vec<SeccompRule>> = ABSENT.iter().map(|call| (*call, vec![])).collect();
    for call in DENIED.iter().chain(DENIED_HERE) {
        refused.insert(*call, vec![]);
    }
    if company != Company::None {
        refused.extend(SHARED_BY_KEY.iter().map(|call| (*call, vec![])));
    }
    if company == Company::SameUser {
        for (call, whose) in OF_OTHERS {
            refused.insert(*call, vec![rule(*whose, SeccompCmpOp::Ne, 0)?]);
        }
        for (call, kind) in OF_A_USER {
            refused.entry(*call).or_default().push(rule(0, SeccompCmpOp::Eq, *kind)?);
        }
    }
    if landlock < LANDLOCK_WITH_TRUNCATE {
        refused.insert(libc::SYS_truncate, vec![]);
        // Its flags are out of a filter's sight.
        absent.insert(libc::SYS_openat2, vec![]);
        let (truncate, mode) = (libc::O_TRUNC.cast_unsigned().into(), libc::O_ACCMODE.cast_unsigned());
        let reading_only = u64::from(mode) | truncate;
        for (call, flags) in OPENING {
            refused.insert(*call, vec![rule(*flags, SeccompCmpOp::MaskedEq(reading_only), truncate)?]);
        }
    }
    let new_namespaces = NAMESPACES.iter().map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        rule(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    refused.insert(libc::SYS_clone, new_namespaces.collect::<Result<_, _>>()?);
    for call in [libc::SYS_socket, libc::SYS_socketpair] {
        refused.insert(call, other_sockets(network)?);
    }
    refused.insert(
        libc::SYS_ioctl,
        vec![rule(1, SeccompCmpOp::Eq, libc::TIOCSTI)?, rule(1, SeccompCmpOp::Eq, TIOCLINUX)?],
    );
    // It is the mark of the run.
    let locks = u64::from(libc::RLIMIT_LOCKS);
    refused.entry(libc::SYS_setrlimit).or_default().push(rule(0, SeccompCmpOp::Eq, locks)?);
    refused.entry(libc::SYS_prlimit64).or_default().push(SeccompRule::new(vec![
        condition(1, SeccompCmpOp::Eq, locks)?,
        SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?,
    ])?);
    // What a process has open is then out of the platform's sight.
    refused.insert(
        libc::SYS_prctl,
        vec![SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, u64::from(libc::PR_SET_DUMPABLE.cast_unsigned()))?,
            condition(1, SeccompCmpOp::Eq, 0)?,
        ])?],
    );
    // All but asking for the present one and setting the usual one.
    refused.insert(
        libc::SYS_personality,
        vec![SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Ne, 0)?,
            condition(0, SeccompCmpOp::Ne, u64::from(u32::MAX))?,
        ])?],
    );
    let mut programs = vec![filter(refused, libc::EPERM)?, filter(absent, libc::ENOSYS)?];
    if cfg!(target_arch = "x86_64") {
        programs.push(without_x32());
    }
    Ok(programs)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: libc::c_int) -> Result<BpfProgram, seccompiler::BackendError> {
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, std::env::consts::ARCH.try_into()?)?.try_into()
}

/// Refuses every socket that the network does not need.
fn other_sockets(network: Network) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let families: &[libc::c_int] = match network {
        Network::None => &[libc::AF_UNIX],
        Network::Loopback | Network::Host => &[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
    };
    let families = families.iter().map(|family| condition(0, SeccompCmpOp::Ne, u64::from(family.cast_unsigned())));
    let mut rules = vec![SeccompRule::new(families.collect::<Result<_, _>>()?)?];
    if network == Network::Loopback {
        // `getifaddrs` asks for the interfaces by this one protocol. Changing them takes a capability that no job has.
        rules.push(SeccompRule::new(vec![
            condition(0, SeccompCmpOp::Eq, u64::from(libc::AF_NETLINK.cast_unsigned()))?,
            condition(2, SeccompCmpOp::Ne, u64::from(libc::NETLINK_ROUTE.cast_unsigned()))?,
        ])?);
    }
    Ok(rules)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![condition(argument, operator, value)?])
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

/// The x32 calls of `x86_64` have numbers of their own, from bit 30 on, and would pass by every rule above.
fn without_x32() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    let refuse = 0x0005_0000 | libc::ENOSYS.cast_unsigned();
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: 0x4000_0000 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: refuse },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ALLOW },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_compiles_and_fits_the_kernel() {
        for network in [Network::None, Network::Loopback, Network::Host] {
            for (landlock, company) in [(7, Company::None), (4, Company::Others), (2, Company::SameUser)] {
                let programs = programs(network, landlock, company).unwrap();
                assert!(programs.iter().all(|program| (1..4096).contains(&program.len())));
            }
        }
    }
}
