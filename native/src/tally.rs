//! How often each syscall was called, for JavaScript: arrays with an entry, or a row, per syscall.
#![allow(
    clippy::cast_precision_loss,
    reason = "JavaScript numbers; the format bounds times, and counts stay below 2^53"
)]

use std::sync::Arc;

use napi::bindgen_prelude::{
    AsyncTask, Either, Env, Float64Array, Int32Array, Null, Result, Task, Uint8Array, Uint32Array,
};
use napi_derive::napi;
use trace_engine::reader::Trace;
use trace_engine::tally::{self, Calls, Tally};

use crate::reader::{Failure, NativeTrace};

/// One entry per syscall in each array, in the order of their first calls; times are nanoseconds.
#[napi(object, object_from_js = false)]
pub struct CallTally {
    pub arch: Uint8Array,
    pub code: Int32Array,
    pub count: Float64Array,
    pub errors: Float64Array,
    pub total: Float64Array,
    pub min: Float64Array,
    pub max: Float64Array,
    /// A row of `BUCKETS` per syscall.
    pub buckets: Uint32Array,
    pub failure: Either<Failure, Null>,
}

#[napi]
impl NativeTrace {
    /// Counts all calls; null when there are too many different ones.
    #[napi]
    pub fn tally(&self) -> Result<AsyncTask<CountCalls>> {
        Ok(AsyncTask::new(CountCalls { trace: self.opened()? }))
    }
}

pub struct CountCalls {
    trace: Arc<Trace>,
}

impl Task for CountCalls {
    type Output = Option<Tally>;
    type JsValue = Either<CallTally, Null>;

    fn compute(&mut self) -> Result<Self::Output> {
        Ok(tally::tally(&self.trace))
    }

    fn resolve(&mut self, _env: Env, output: Self::Output) -> Result<Self::JsValue> {
        let Some(Tally { calls, failure }) = output else { return Ok(Either::B(Null)) };
        let floats = |get: fn(&Calls) -> u64| Float64Array::new(calls.iter().map(|calls| get(calls) as f64).collect());
        Ok(Either::A(CallTally {
            arch: Uint8Array::new(calls.iter().map(|calls| calls.arch).collect()),
            code: Int32Array::new(calls.iter().map(|calls| calls.code).collect()),
            count: floats(|calls| calls.count),
            errors: floats(|calls| calls.errors),
            total: floats(|calls| calls.total),
            min: floats(|calls| calls.min),
            max: floats(|calls| calls.max),
            buckets: Uint32Array::new(calls.iter().flat_map(|calls| calls.buckets.iter().copied()).collect()),
            failure: failure.as_ref().map_or(Either::B(Null), |error| Either::A(error.into())),
        }))
    }
}
