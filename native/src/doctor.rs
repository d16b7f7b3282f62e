//! What this machine lets a recorder do, for `trace doctor`.
#![allow(clippy::cast_precision_loss, reason = "JavaScript numbers; the format bounds what may be larger than 2^53")]

use napi::bindgen_prelude::{AsyncTask, Env, Result, Task};
use napi_derive::napi;
use trace_engine::doctor;

/// One ability: `errno` is 0 when it works.
#[napi(object, object_from_js = false)]
pub struct Check {
    pub name: String,
    pub errno: i32,
    pub value: f64,
}

pub struct Probe;

impl Task for Probe {
    type Output = Vec<doctor::Check>;
    type JsValue = Vec<Check>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(doctor::probe())
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let convert =
            |check: doctor::Check| Check { name: check.name.to_owned(), errno: check.errno, value: check.value as f64 };
        Ok(output.into_iter().map(convert).collect())
    }
}

/// Tries each ability on a child of this process.
#[napi]
pub fn probe() -> AsyncTask<Probe> {
    AsyncTask::new(Probe)
}
