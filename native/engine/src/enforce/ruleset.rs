//! The Landlock ruleset of a policy: all rights that the running kernel knows are handled, and those of the policy granted.

use std::os::fd::OwnedFd;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, CompatLevel, Compatible as _,
    NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};

use super::policy::Landlock;
use crate::error::EngineError;

/// `LANDLOCK_CREATE_RULESET_VERSION` of linux/landlock.h.
const ASK_VERSION: u32 = 1;

/// The version of Landlock that the kernel offers; 0: none, or not enabled.
#[must_use]
pub fn version() -> i32 {
    // SAFETY: with this flag the kernel wants no struct.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, ASK_VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Whether it knows all that opening what exists can do: an open that truncates is one from this version on.
#[must_use]
pub fn judges_opens() -> bool {
    const TRUNCATES_SINCE: i32 = 3;
    version() >= TRUNCATES_SINCE
}

/// The finished ruleset; `None` where the kernel has no Landlock. `is_truncation_held`: nobody truncates what may not be written,
/// which needs no right then.
///
/// # Errors
/// `policy` when a rule names a right that nothing knows, or the kernel refuses it.
pub fn create(policy: &Landlock, is_truncation_held: bool) -> Result<Option<OwnedFd>, EngineError> {
    let version = version();
    if version == 0 {
        return Ok(None);
    }
    let wrong = |error: String| {
        EngineError::start("policy", format!("the paths of the policy make no Landlock ruleset: {error}"))
    };
    let abi = ABI::from(version);
    let mut handled = AccessFs::from_all(abi);
    if is_truncation_held {
        handled.remove(AccessFs::Truncate);
    }
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)
        .map_err(|error| wrong(error.to_string()))?;
    if policy.connect.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp).map_err(|error| wrong(error.to_string()))?;
    }
    if policy.bind.is_some() {
        ruleset = ruleset.handle_access(AccessNet::BindTcp).map_err(|error| wrong(error.to_string()))?;
    }
    if policy.scope_abstract {
        ruleset = ruleset.scope(Scope::AbstractUnixSocket).map_err(|error| wrong(error.to_string()))?;
    }
    if policy.scope_signal {
        ruleset = ruleset.scope(Scope::Signal).map_err(|error| wrong(error.to_string()))?;
    }
    let mut created = ruleset.create().map_err(|error| wrong(error.to_string()))?;
    for rule in &policy.rules {
        let Ok(file) = PathFd::new(&rule.path) else { continue };
        let mut rights = BitFlags::empty();
        for name in &rule.rights {
            rights |= right(name).ok_or_else(|| wrong(format!("there is no right {name}")))?;
        }
        rights &= handled;
        if !std::fs::metadata(&rule.path).is_ok_and(|facts| facts.is_dir()) {
            rights &= AccessFs::from_file(abi);
        }
        if rights.is_empty() {
            continue;
        }
        match (&mut created).add_rule(PathBeneath::new(file, rights)) {
            Err(error) if is_of_no_file_system(&error) => {}
            added => drop(added.map_err(|error| wrong(error.to_string()))?),
        }
    }
    let ports = |list: &Option<Vec<u16>>| list.clone().unwrap_or_default();
    for port in ports(&policy.connect) {
        created =
            created.add_rule(NetPort::new(port, AccessNet::ConnectTcp)).map_err(|error| wrong(error.to_string()))?;
    }
    for port in ports(&policy.bind) {
        created = created.add_rule(NetPort::new(port, AccessNet::BindTcp)).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(created.into())
}

/// Whether a rule was refused since its object is a pipe, socket or the like: those Landlock leaves to whoever has them
/// (`get_path_from_fd` of security/landlock/syscalls.c).
fn is_of_no_file_system(error: &RulesetError) -> bool {
    let RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })) = error else {
        return false;
    };
    source.raw_os_error() == Some(libc::EBADFD)
}

fn right(name: &str) -> Option<AccessFs> {
    Some(match name {
        "execute" => AccessFs::Execute,
        "write_file" => AccessFs::WriteFile,
        "read_file" => AccessFs::ReadFile,
        "read_dir" => AccessFs::ReadDir,
        "remove_dir" => AccessFs::RemoveDir,
        "remove_file" => AccessFs::RemoveFile,
        "make_dir" => AccessFs::MakeDir,
        "make_reg" => AccessFs::MakeReg,
        "make_sock" => AccessFs::MakeSock,
        "make_fifo" => AccessFs::MakeFifo,
        "make_sym" => AccessFs::MakeSym,
        "refer" => AccessFs::Refer,
        "truncate" => AccessFs::Truncate,
        "ioctl_dev" => AccessFs::IoctlDev,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforce::policy::PathRule;

    fn policy(rules: &[(&str, &str)]) -> Landlock {
        let rule = |(path, right): &(&str, &str)| PathRule { path: (*path).into(), rights: vec![(*right).into()] };
        Landlock {
            rules: rules.iter().map(rule).collect(),
            connect: None,
            bind: None,
            scope_abstract: false,
            scope_signal: false,
        }
    }

    #[test]
    fn an_object_of_no_file_system_needs_no_rule() {
        let (reads, _writes) = std::io::pipe().unwrap();
        let pipe = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reads));
        assert!(create(&policy(&[(&pipe, "read_file"), ("/", "read_dir")]), false).is_ok());
        assert!(create(&policy(&[("/", "read_mind")]), false).is_err());
    }
}
