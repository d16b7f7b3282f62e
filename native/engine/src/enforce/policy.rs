//! What is enforced, as plain data. `src/spec/compile.ts` makes it, `src/spec/policy.ts` says what each part means.

use serde::Deserialize;

use super::capabilities;
use super::choices::Test;
use crate::error::EngineError;

/// The version that this enforcer understands.
const VERSION: u32 = 4;
/// More than any spec compiles to.
const MAX_BYTES: usize = 64 << 20;

/// `socket(family, type, protocol)`; -1 is any.
pub type SocketRule = (i32, i32, i32);

/// Number of a call that changes as whom a program acts, and its ids.
pub type UserRule = (i64, Vec<i32>);

/// Number of a call that chooses, and the values that it was granted; -1 is any.
pub type ChoiceRule = (i64, Vec<i64>);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// Read before, alone.
    #[serde(rename = "version")]
    _version: u32,
    pub supervised: bool,
    pub pass: Vec<i64>,
    pub absent: Vec<i64>,
    pub judged: Vec<i64>,
    pub opens: Opens,
    pub sockets: Vec<SocketRule>,
    pub choices: Vec<Choice>,
    /// Numbers of capabilities that nobody needs.
    pub without: Vec<u8>,
    pub landlock: Landlock,
    pub roles: Vec<Role>,
    pub root: usize,
    pub learn: bool,
}

/// Opening of what exists that Landlock holds to the letter, so that nobody has to judge it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Opens {
    pub reading: bool,
    pub writing: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Landlock {
    pub rules: Vec<PathRule>,
    pub connect: Option<Vec<u16>>,
    pub bind: Option<Vec<u16>>,
    pub scope_abstract: bool,
    pub scope_signal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRule {
    pub path: String,
    pub rights: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Role {
    pub name: String,
    pub exe: Vec<String>,
    pub script: Option<Script>,
    pub calls: Vec<i64>,
    pub sockets: Vec<SocketRule>,
    pub users: Vec<UserRule>,
    pub choices: Vec<ChoiceRule>,
    pub grants: Vec<Grant>,
}

/// A call that is many in one: the arguments by which it chooses, and what comes with the call itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Choice {
    pub call: i64,
    pub args: Vec<u8>,
    pub free: Vec<Vec<Test>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    pub path: String,
    pub inline: Vec<String>,
    pub takes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    pub verb: String,
    pub object: String,
    pub phase: Option<String>,
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

impl Policy {
    /// Reads the data that `compilePolicy` made.
    ///
    /// # Errors
    /// `policy` when it is of another version or damaged.
    pub fn parse(text: &str) -> Result<Policy, EngineError> {
        let wrong = |what: String| EngineError::start("policy", format!("the policy cannot be enforced: {what}"));
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("it has {} bytes, the limit is {MAX_BYTES}", text.len())));
        }
        // The version by itself first: the rest of another one may not even read as this one.
        let Versioned { version } = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if version != VERSION {
            return Err(wrong(format!("it is of version {version}, this enforcer understands {VERSION}")));
        }
        let policy: Policy = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if policy.root >= policy.roles.len() {
            return Err(wrong(format!("role {} of {} is to be the first", policy.root, policy.roles.len())));
        }
        if let Some(number) = policy.without.iter().find(|number| **number >= capabilities::MOST) {
            return Err(wrong(format!("there is no capability {number}")));
        }
        let arguments = |choice: &Choice| -> Vec<u8> {
            choice.args.iter().copied().chain(choice.free.iter().flatten().map(|test| test.0)).collect()
        };
        if let Some(argument) = policy.choices.iter().flat_map(arguments).find(|argument| *argument > 5) {
            return Err(wrong(format!("a call chooses by argument {argument}, there are 0 to 5")));
        }
        Ok(policy)
    }

    /// Whether no process may leave a core file. Where roles are apart, the kernel would let any of them leave one where any other may
    /// make files.
    #[must_use]
    pub fn holds_cores(&self) -> bool {
        self.supervised && !self.learn
    }
}
